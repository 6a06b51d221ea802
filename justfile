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

# Two simulated Sparks.
demo:
    ./scripts/demo

# Many seeds of edits, faults and kills.
seeds count="5000":
    SPARK_CONTROL_SEEDS={{count}} cargo test --release --locked --test it simulation

# Random bytes as a file, for that many seconds (`cargo install cargo-fuzz`; nightly, or RUSTC_BOOTSTRAP=1).
fuzz seconds="300":
    mkdir -p target/fuzz/manifest
    cargo fuzz run manifest target/fuzz/manifest fuzz/seeds/manifest -- -max_total_time={{seconds}} -max_len=20000

# Break one line at a time; the simulation must notice.
mutants:
    ./scripts/mutants

# Rewrite the texts that are checked in; review the difference.
bless:
    SPARK_CONTROL_BLESS=1 cargo test --locked --test it

# Figures for `docs/performance.md`: decisions, a look at many Sparks, and the lab (root).
bench:
    cargo bench --locked
    cargo build --locked --profile dist
    SPARK_CONTROL_PROGRAM=$PWD/target/dist/spark-control cargo test --locked --test lab -- --ignored --nocapture measure

# Licences, advisories, sources (network).
deny:
    cargo deny check
