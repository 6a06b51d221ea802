//! A bot's update with a real git over SSH, a real build and a real container, as the bot's own user.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use crate::{
    cluster::{MODELS, on_one_spark},
    controller::{Controller, save, text},
    lab::Lab,
    shell::{sh, wait_until},
    spark::{BOT, Spark},
};

/// For a build of two layers on a busy machine.
const UPDATE: Duration = Duration::from_secs(120);

/// A bot that runs: its repository on the Spark, its checkout, an image of it and a container.
pub struct Bot<'a> {
    lab: &'a Lab,
    spark: &'a Spark,
    home: PathBuf,
    asked: u32,
}

impl<'a> Bot<'a> {
    pub fn new(lab: &'a Lab) -> Self {
        let spark = lab.spark("spark1");
        let home = spark.make_bot_user(&lab.directory);
        let (work, bare) = (lab.directory.join("work"), spark.home().join("helper.git"));
        fs::create_dir_all(&work).unwrap();
        fs::write(
            work.join("Dockerfile"),
            "FROM vllm-node:latest\nCOPY version /version\nCMD [\"sleep\", \"10000\"]\n",
        )
        .unwrap();
        let compose = "version: '2.4'\nservices:\n  helper:\n    build: .\n    container_name: helper\n    network_mode: none\n";
        fs::write(work.join("docker-compose.yml"), compose).unwrap();
        fs::write(work.join("version"), "1\n").unwrap();
        fs::write(work.join(".dockerignore"), ".git\n").unwrap();
        sh(&format!(
            "cd {w} && git init -q -b main && git config user.name Alice && git config user.email alice@example.com &&
             git add . && git commit -qm first && git clone -q --bare {w} {b} && git remote add origin {b}",
            w = work.display(),
            b = bare.display()
        ));
        let bot = Self { lab, spark, home, asked: 0 };
        bot.as_bot(&format!(
            "git clone -q ssh://root@{}/root/helper.git helper && cd helper && docker-compose build -q && docker-compose up -d",
            spark.address
        ));
        bot
    }

    /// A command of its user, as over SSH.
    fn as_bot(&self, command: &str) -> String {
        sh(&format!(
            "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
             -i {}/key {BOT}@{} '{command}' </dev/null",
            self.lab.directory.display(),
            self.spark.address
        ))
    }

    /// Somebody changes the bot and pushes it.
    pub fn push(&self, file: &str, content: &str) -> String {
        let work = self.lab.directory.join("work");
        fs::write(work.join(file), content).unwrap();
        sh(&format!(
            "cd {w} && git add . && git commit -qm next && git push -q origin main",
            w = work.display()
        ));
        sh(&format!("cd {} && git rev-parse --short HEAD", work.display())).trim().to_owned()
    }

    /// Its entry in the file.
    pub fn entry(&self) -> String {
        // Each a minute later than the one before, and all of them past.
        let update = match self.asked {
            0 => String::new(),
            asked => format!(", update_after: \"2026-01-01T00:{asked:02}:00Z\""),
        };
        format!(
            "{{ kind: bot, spark: spark1, container: helper, user: {BOT}, dir: helper, branch: main{update} }}"
        )
    }

    fn manifest(&self) -> String {
        let entry = self.entry();
        self.lab.manifest(&on_one_spark(&format!(
            "model: none\n{MODELS}services:\n  helper: {entry}\nreconcile: {{ interval: 2s }}\n"
        )))
    }

    /// Ask for one more update, and wait for what the status says of it.
    fn update(&mut self, controller: &Controller, file: &std::path::Path, says: &str) -> String {
        self.asked += 1;
        save(file, &self.manifest());
        let ends = || -> Vec<String> {
            let history = text(&controller.command(&["history", "--last", "100"]));
            history.lines().filter(|line| line.contains("update: ")).map(str::to_owned).collect()
        };
        let wanted = self.asked as usize;
        wait_until(says, UPDATE, || ends().len() == wanted);
        let end = ends().pop().unwrap_or_default();
        assert!(end.contains(says), "{end}");
        text(&controller.command(&["status", "--now"]))
    }

    pub fn version(&self) -> String {
        self.spark.docker(&["exec", "helper", "cat", "/version"])
    }
}

/// If this failed, an update would run as somebody else, build what was not asked for, or fail without a word.
#[test]
fn a_bot_is_brought_to_its_branch_as_its_own_user_and_a_failure_says_why() {
    let lab = Lab::up(1);
    let mut bot = Bot::new(&lab);
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, bot.manifest()).unwrap();
    let controller = Controller::serve(&lab, "data", &file);
    let before = bot.spark.running("helper").expect("the bot runs");

    // It is fetched, built, recreated and verified.
    let commit = bot.push("version", "2\n");
    bot.update(&controller, &file, &format!("update: main is at {commit}, and helper runs it"));
    assert_eq!(bot.version(), "2");
    assert_ne!(bot.spark.running("helper"), Some(before));
    let owner =
        sh(&format!("stat -c %u {}/helper/version {}/.local/state", bot.home.display(), bot.home.display()));
    assert_eq!(owner.trim(), "54321\n54321", "all of it was done by its own user");
    let log = text(&controller.command(&["logs", "helper"]));
    for phase in ["== fetching main", "== building at", "== recreating", "== verifying"] {
        assert!(log.contains(phase), "{log}");
    }
    // Nothing new is no failure, and not another image.
    bot.update(&controller, &file, &format!("main is at {commit}"));

    // Changes that are not committed are left alone.
    let running = bot.spark.running("helper");
    bot.as_bot("echo mine >>helper/version");
    bot.push("version", "3\n");
    let status =
        bot.update(&controller, &file, "has changes that are not committed:  M version (exit status 1)");
    assert!(status.contains("Stalled") && status.contains(" retry helper"), "{status}");
    assert_eq!(bot.as_bot("tail -n 1 helper/version").trim(), "mine");
    bot.as_bot("cd helper && git checkout -q version");

    // A key that its repository does not know: git's own words.
    sh(&format!(
        "ssh-keygen -q -t ed25519 -N \"\" -f {h}/other && chown 54321:54321 {h}/other*",
        h = bot.home.display()
    ));
    bot.as_bot("cp .ssh/id_ed25519 key && cp other .ssh/id_ed25519");
    let status = bot.update(&controller, &file, "Permission denied (publickey");
    assert!(status.contains("git fetch: "), "{status}");
    assert_eq!(bot.spark.running("helper"), running, "what runs stays");
    bot.as_bot("cp key .ssh/id_ed25519");

    // The connection is lost in the middle: the job goes on, and what came of it is found.
    let slow = "FROM vllm-node:latest\nRUN sleep 8\nCOPY version /version\nCMD [\"sleep\", \"10000\"]\n";
    let commit = bot.push("Dockerfile", slow);
    bot.asked += 1;
    save(&file, &bot.manifest());
    wait_until("the build", UPDATE, || {
        text(&controller.command(&["status", "--now"])).contains("building at")
    });
    bot.spark.cut();
    wait_until("the Spark to be missed", UPDATE, || {
        text(&controller.command(&["status", "--now"])).contains("UNREACHABLE")
    });
    bot.spark.mend();
    let history = || text(&controller.command(&["history", "--last", "10"]));
    let done = format!("update: main is at {commit}, and helper runs it");
    wait_until(&done, UPDATE, || history().contains(&done));
    assert_eq!(bot.version(), "3");

    // A build that hangs is ended at the cap, with everything that it started. The cap is a minute's test here: the `timeout`
    // that this user finds first turns 25 minutes into ten seconds.
    let shim = bot.home.join("bin/timeout");
    let text_of = "#!/bin/sh\n[ \"$3\" != 1500 ] || { shift 3; set -- -k 2 10 \"$@\"; }\nexec /usr/bin/timeout \"$@\"\n";
    fs::write(&shim, text_of).unwrap();
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
    let running = bot.spark.running("helper");
    bot.push(
        "Dockerfile",
        "FROM vllm-node:latest\nRUN sleep 9999\nCOPY version /version\nCMD [\"sleep\", \"10000\"]\n",
    );
    bot.update(&controller, &file, "it was ended from outside");
    assert_eq!(bot.spark.running("helper"), running, "what runs stays");
    // One that nobody has reaped yet has ended.
    let left = sh("ps -o stat= -o args= -u 54321 | grep -v ^Z | grep docker-compose || true");
    assert_eq!(left.trim(), "", "nothing of it is left");
}
