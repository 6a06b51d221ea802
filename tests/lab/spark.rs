//! One Spark of the lab: a network namespace with a real sshd and a real Docker engine, and what a test asks of it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use crate::shell::{hermetic, run, sh, wait_until};

/// A second user there, where a test made one.
pub const BOT: &str = "helper";
/// No user of this machine has it.
const BOT_ID: u32 = 54_321;

pub struct Spark {
    pub name: String,
    pub address: Ipv4Addr,
    pub directory: PathBuf,
    pub namespace: String,
}

impl Spark {
    pub fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// Its network namespace, and where its programs are.
    pub fn place(&self) -> (PathBuf, String) {
        let path = format!(
            "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            self.directory.join("bin").display()
        );
        (Path::new("/run/netns").join(&self.namespace), path)
    }

    /// A command of its user, as over SSH.
    pub fn by_ssh(&self, command: &str) -> String {
        let key = self.directory.parent().expect("the lab").join("key");
        run(hermetic("ssh")
            .args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-i"])
            .arg(key)
            .arg(format!("root@{}", self.address))
            .arg(command)
            .stdin(Stdio::null()))
    }

    /// Ask this Spark's Docker engine.
    pub fn try_docker(&self, arguments: &[&str]) -> Output {
        hermetic("/usr/bin/docker")
            .arg("-H")
            .arg(format!("unix://{}", self.socket().display()))
            .args(arguments)
            .output()
            .expect("the docker client runs")
    }

    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = self.try_docker(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?} on {}: {told}", self.name);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The id of the running container of that exact name.
    pub fn running(&self, name: &str) -> Option<String> {
        let filter = format!("name=^/{name}$");
        let id = self.docker(&["container", "ls", "-q", "--no-trunc", "--filter", &filter]);
        (!id.is_empty()).then_some(id)
    }

    /// The words of the engine in that container, as its `vllm` got them.
    pub fn engine_words(&self, name: &str) -> Option<Vec<String>> {
        let output = self.try_docker(&["exec", name, "cat", "/tmp/vllm-argv"]);
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).split('\0').map(str::to_owned).collect())
    }

    /// `NAME=value` of the process in that container whose command line has `words`: what it got at last, whoever set it.
    pub fn engine_environment(&self, container: &str, words: &str) -> Vec<String> {
        let running = self.docker(&["top", container, "-eo", "pid,args"]);
        let engine = running.lines().find(|line| line.contains(words)).expect("an engine").trim();
        let pid = engine.split(' ').next().expect("a number");
        let environment = fs::read_to_string(format!("/proc/{pid}/environ")).expect("its environment");
        environment.split('\0').map(str::to_owned).collect()
    }

    /// How often a container of that name was started on this engine.
    pub fn starts(&self, name: &str) -> usize {
        let events = self.docker(&[
            "events",
            "--since",
            "0",
            "--until",
            sh("date +%s.%N").trim(),
            "--filter",
            "event=start",
            "--filter",
            &format!("container={name}"),
            "--format",
            "{{.ID}}",
        ]);
        events.lines().count()
    }

    /// Ask the engine server from here.
    pub fn served(&self, port: u16) -> Option<String> {
        let limit = Duration::from_secs(3);
        let mut stream = TcpStream::connect_timeout(&(self.address, port).into(), limit).ok()?;
        stream.set_read_timeout(Some(limit)).ok()?;
        stream.write_all(b"GET /v1/models HTTP/1.1\r\nhost: lab\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        // The engine keeps the connection open; its answer ends with the list's closing bracket.
        while !answer.ends_with(b"]}") {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(count) => answer.extend_from_slice(&piece[..count]),
            }
        }
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    pub fn audit(&self) -> String {
        fs::read_to_string(self.home().join(".local/state/spark-control/lab/audit.log")).unwrap_or_default()
    }

    pub fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    /// Nothing comes from or goes to this Spark any more.
    pub fn cut(&self) {
        self.inside("iptables -I INPUT -j DROP && iptables -I OUTPUT -j DROP && iptables -I FORWARD -j DROP");
    }

    pub fn mend(&self) {
        self.inside("iptables -D INPUT -j DROP && iptables -D OUTPUT -j DROP && iptables -D FORWARD -j DROP");
    }

    /// A user of its own for a bot, with a home, the lab's key, and a way to the Engine.
    pub fn make_bot_user(&self, lab: &Path) -> PathBuf {
        let d = self.directory.display();
        let home = self.directory.join("bot");
        for folder in [".ssh", "bin"] {
            fs::create_dir_all(home.join(folder)).expect("the bot's home");
        }
        let passwd = fs::read_to_string("/etc/passwd").expect("this machine's users");
        let user = format!("{passwd}{BOT}:x:{BOT_ID}:{BOT_ID}::{d}/bot:/bin/sh\n");
        fs::write(self.directory.join("passwd"), user).expect("the Spark's users");
        for (from, to) in [("key", ".ssh/id_ed25519"), ("key.pub", ".ssh/authorized_keys")] {
            fs::copy(lab.join(from), home.join(to)).expect("the lab's key");
        }
        let config = "StrictHostKeyChecking accept-new\nLogLevel ERROR\n";
        fs::write(home.join(".ssh/config"), config).expect("the bot's own configuration");
        sh(&format!("chown -R {BOT_ID}:{BOT_ID} {d}/bot; chmod 666 {d}/docker.sock"));
        self.stop_sshd();
        self.start_sshd();
        self.wait_for_sshd(lab);
        home
    }

    pub fn inside(&self, text: &str) -> String {
        sh(&format!("nsenter --net=/run/netns/{} sh -c '{text}'", self.namespace))
    }

    pub fn make(&self, bridge: &str, number: u8, index: usize, lab: &Path) {
        let d = self.directory.display();
        let bin = self.directory.join("bin");
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/spark");
        fs::create_dir_all(&bin).expect("bin");
        fs::create_dir_all(self.home().join(".ssh")).expect("home");
        fs::create_dir_all(self.home().join("spark-vllm-docker")).expect("the launcher's directory");
        fs::copy(here.join("nvidia-smi"), bin.join("nvidia-smi")).expect("nvidia-smi");
        for program in ["launch-cluster.sh", "run-recipe.sh"] {
            fs::copy(here.join(program), self.home().join("spark-vllm-docker").join(program))
                .expect("the launcher");
        }
        let local = self.home().join(".local/bin");
        fs::create_dir_all(&local).expect("the user's programs");
        fs::copy(here.join("sparkrun"), local.join("sparkrun")).expect("sparkrun");
        for model in ["alpha", "beta", "wide"] {
            let cached = self.home().join(format!(".cache/huggingface/hub/models--lab--{model}"));
            fs::create_dir_all(cached.join("refs")).expect("the cache");
            fs::create_dir_all(cached.join("snapshots/c0ffee")).expect("the cache");
            fs::write(cached.join("refs/main"), "c0ffee\n").expect("the cache");
            whole(&cached.join("snapshots/c0ffee"));
        }
        // With this on its PATH the engine accepts `--gpus all`.
        let hook = bin.join("nvidia-container-runtime-hook");
        fs::write(&hook, "#!/bin/sh\n").expect("the hook");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("the hook");
        fs::copy(lab.join("key"), self.home().join(".ssh/id_ed25519")).expect("the key");
        let ns = &self.namespace;
        let veth = format!("scl{number}v{index}");
        sh(&format!(
            "ip netns add {ns} && ip link add {veth} type veth peer name eth0 netns {ns} &&
             ip link set {veth} master {bridge} up &&
             ip -n {ns} addr add {}/28 dev eth0 && ip -n {ns} link set eth0 up && ip -n {ns} link set lo up",
            self.address
        ));
        sh(&format!("ssh-keygen -q -t ed25519 -N '' -f {d}/host_key"));
        let (_, path) = self.place();
        self.start_engine(&path, number, index);
        fs::write(
            self.directory.join("sshd_config"),
            format!(
                "Port 22\nListenAddress {}\nHostKey {d}/host_key\nPidFile {d}/sshd.pid\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nAuthorizedKeysFile {}/key.pub\n\
                 SetEnv PATH={path} DOCKER_HOST=unix://{d}/docker.sock HOME={d}/home\n\
                 Match User {BOT}\nAuthorizedKeysFile {d}/bot/.ssh/authorized_keys\n\
                 SetEnv PATH={d}/bot/bin:{path} DOCKER_HOST=unix://{d}/docker.sock HOME={d}/bot\n",
                self.address,
                lab.display()
            ),
        )
        .expect("sshd_config");
        fs::create_dir_all("/run/sshd").expect("sshd's own directory");
        self.start_sshd();
    }

    /// End it and the sessions that it started.
    pub fn stop_sshd(&self) {
        let d = self.directory.display();
        sh(&format!("pid=$(cat {d}/sshd.pid); pkill -KILL -P $pid || true; kill -KILL $pid"));
    }

    /// What `/proc/meminfo` says to whoever comes over SSH: the bytes of that file.
    pub fn show_meminfo(&self, file: &Path) {
        let d = self.directory.display();
        sh(&format!("nsenter -m -t $(cat {d}/sshd.pid) mount --bind {} /proc/meminfo", file.display()));
    }

    /// The files in the memory that only this Spark has.
    pub fn shared_memory(&self) -> String {
        let d = self.directory.display();
        sh(&format!("nsenter -m -t $(cat {d}/sshd.pid) ls /dev/shm"))
    }

    /// With a home, a shared memory and an Engine's usual socket of its own, though every Spark is this machine.
    pub fn start_sshd(&self) {
        let d = self.directory.display();
        sh(&format!(
            "nsenter --net=/run/netns/{} unshare -m -u sh -c '
                hostname {}; mount --bind {d}/home /root; mount -t tmpfs tmpfs /dev/shm
                [ ! -e {d}/passwd ] || mount --bind {d}/passwd /etc/passwd
                mount -t tmpfs tmpfs /run; mkdir /run/sshd; ln -s {d}/docker.sock /run/docker.sock; exec /usr/sbin/sshd -f {d}/sshd_config -E {d}/sshd.log'",
            self.namespace, self.name
        ));
    }

    fn start_engine(&self, path: &str, number: u8, index: usize) {
        let d = self.directory.display();
        let log = File::create(self.directory.join("docker.log")).expect("the engine's log");
        let script = format!(
            "echo $$ >{d}/engine.pid
             PATH={path} exec dockerd -H unix://{d}/docker.sock --data-root {d}/data --exec-root {d}/exec \
             --pidfile {d}/docker.pid --cgroup-parent /sclab{number}-{index} --bridge none \
             --storage-driver vfs --iptables=false"
        );
        hermetic("nsenter")
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .args(["unshare", "-u", "setsid", "--fork", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .status()
            .expect("the engine starts");
    }

    pub fn wait_for_engine(&self) {
        wait_until(&format!("the engine of {}", self.name), Duration::from_secs(60), || {
            self.try_docker(&["version"]).status.success()
        });
    }

    pub fn wait_for_sshd(&self, lab: &Path) {
        wait_until(&format!("sshd of {}", self.name), Duration::from_secs(20), || {
            hermetic("ssh")
                .args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=2"])
                .args([
                    "-o",
                    "StrictHostKeyChecking=no",
                    "-o",
                    "UserKnownHostsFile=/dev/null",
                    "-o",
                    "LogLevel=ERROR",
                ])
                .arg("-i")
                .arg(lab.join("key"))
                .arg(format!("root@{}", self.address))
                .arg("docker version >/dev/null")
                .status()
                .is_ok_and(|status| status.success())
        });
    }
}

/// What a loader needs of a model, with no tensors in it.
pub fn whole(folder: &Path) {
    fs::create_dir_all(folder).expect("the model's folder");
    fs::write(folder.join("model.safetensors"), EMPTY).expect("weights");
    fs::write(folder.join("config.json"), "{}").expect("a configuration");
    fs::write(folder.join("tokenizer.json"), "{}").expect("a tokenizer");
}

/// A safetensors file with a header of two bytes and nothing behind it.
pub const EMPTY: &[u8] = b"\x02\0\0\0\0\0\0\0{}";
