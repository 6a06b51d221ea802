# What one does here. `just --list`.

# Format, lints, fast tests.
check:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    cargo test --locked --lib --bins --test it

# Everything, the lab included (root).
test:
    ./scripts/test

# Real sshd and real Docker engines (root); `just lab swap` runs those whose name holds `swap`.
lab *filter:
    cargo test --locked --test lab {{filter}} -- --test-threads=4

# One stage of `just test` and what it needs: `just stage page`; without a name, what stages there are.
stage name="--list":
    ./scripts/stages {{name}}

# The pictures in `docs/pictures`, and what the page weighs.
screenshots:
    cargo build --locked
    cd tests/ui && npm ci --silent --no-audit --no-fund
    SPARK_CONTROL_PROGRAM=$PWD/target/debug/spark-control node tests/ui/screens.mjs

# Two simulated Sparks.
demo:
    ./scripts/demo

# Many seeds of files, edits, faults and kills.
seeds count="20000":
    SPARK_CONTROL_SEEDS={{count}} cargo test --release --locked --test it simulation

# The story of one seed.
trace seed:
    SPARK_CONTROL_SEED_FROM={{seed}} SPARK_CONTROL_SEEDS=1 SPARK_CONTROL_TRACE=1 \
        cargo test --locked --test it any_seed -- --nocapture

# Seeds without an end, from a new place each time.
soak:
    SPARK_CONTROL_SEED_FROM=$(date +%s)00000 SPARK_CONTROL_SEEDS=100000000 \
        cargo test --release --locked --test it any_seed -- --nocapture

# Swaps on real Sparks while things go wrong (root).
chaos swaps="100":
    SPARK_CONTROL_SWAPS={{swaps}} cargo test --locked --test lab chaos -- --nocapture

# Random bytes for one parser (`fuzz/targets`), for that many seconds (`cargo install cargo-fuzz`; nightly, or RUSTC_BOOTSTRAP=1).
fuzz target="manifest" seconds="300":
    mkdir -p target/fuzz/{{target}}
    cargo fuzz run {{target}} target/fuzz/{{target}} fuzz/seeds/{{target}} -- -max_total_time={{seconds}} -max_len=20000

# Break every function and operator of `core/` once; the fast tests must notice. Hours: in shards, each by itself
# (`cargo install cargo-mutants cargo-nextest`). `just mutants 3/40 src/core/decide/memory.rs`
mutants shard="0/1" files="src/core/**/*.rs":
    SPARK_CONTROL_SEEDS=40 cargo mutants --shard {{shard}} -f '{{files}}' --output target/mutants-$(echo {{shard}} | tr / -)

# Break one line at a time; the simulation must notice (in `.ci/run`).
broken-copies:
    ./scripts/mutants

# Rewrite the texts that are checked in; review the difference.
bless:
    SPARK_CONTROL_BLESS=1 cargo test --locked --test it

# Figures for `docs/performance.md`: decisions, a look at many Sparks, and the lab (root).
bench:
    cargo bench --locked
    cargo build --locked --profile dist
    SPARK_CONTROL_PROGRAM=$PWD/target/dist/spark-control cargo test --locked --test lab -- --ignored --nocapture measure

# A release, from the version to what is published; `scripts/release` tells the steps, and what it needs.
release version:
    ./scripts/release {{version}}

# The StartOS package: bundle, actions; and the image and the Debian package of a release (root).
package:
    ./scripts/stages bundle release

# Licences, advisories, sources (network).
deny:
    cargo deny check
