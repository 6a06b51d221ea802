//! Real Sparks on one machine: network namespaces with their own addresses, each with a real sshd and a real Docker
//! engine. Everything is under one directory and is ended by process id.
//!
//! Each test takes a numbered lab (its own bridge and subnet out of 192.0.2.0/24) and owns it until it ends; what a
//! killed test left behind is cleared by the next one to take the number.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const NUMBERS: u8 = 8;
pub const CONTAINER: &str = "vllm_node";

pub struct Lab {
    pub directory: PathBuf,
    number: u8,
    pub sparks: Vec<Spark>,
    _lock: File,
}

pub struct Spark {
    pub name: String,
    pub address: Ipv4Addr,
    pub directory: PathBuf,
    namespace: String,
}

/// Run and demand success.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn sh(text: &str) -> String {
    run(Command::new("sh").arg("-c").arg(text))
}

/// Run; a failure is normal.
fn try_sh(text: &str) {
    let _ = Command::new("sh").arg("-c").arg(text).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        sleep(Duration::from_millis(100));
    }
}

impl Lab {
    /// Two Sparks, up and empty, with images `vllm-node` and `other-image`.
    pub fn up(count: u8) -> Self {
        // SAFETY of the machine: this suite makes namespaces and bridges, so it must be root, and say so.
        let root = sh("id -u").trim() == "0";
        assert!(root, "the lab needs root: network namespaces, bridges, Docker engines");
        let base = PathBuf::from("/tmp/spark-control-lab");
        fs::create_dir_all(&base).expect("the lab's directory");
        let (number, lock) = take_number(&base);
        let directory = base.join(number.to_string());
        clear(&directory, number);
        fs::create_dir_all(&directory).expect("the lab's directory");
        let bridge = format!("sclab{number}");
        let net = |host: u8| Ipv4Addr::new(192, 0, 2, number * 16 + host);
        sh(&format!(
            "ip link add {bridge} type bridge && ip addr add {}/28 dev {bridge} && ip link set {bridge} up &&
             iptables -I FORWARD -i {bridge} -o {bridge} -j ACCEPT",
            net(1)
        ));
        let image = image(&base);
        keys(&directory);
        let sparks: Vec<Spark> = (1..=count)
            .map(|index| {
                let name = format!("spark{index}");
                let namespace = format!("sclab{number}-{index}");
                Spark { directory: directory.join(&name), address: net(1 + index), name, namespace }
            })
            .collect();
        let lab = Self { directory, number, sparks, _lock: lock };
        for (index, spark) in lab.sparks.iter().enumerate() {
            spark.make(&bridge, number, index, &lab.directory);
        }
        for spark in &lab.sparks {
            spark.wait_for_engine();
            spark.docker(&["import", image.to_str().expect("a plain path"), "vllm-node:latest"]);
        }
        // The same image id everywhere, as a copied image has.
        let saved = lab.directory.join("image.tar");
        lab.sparks[0].docker(&["save", "-o", saved.to_str().expect("a plain path"), "vllm-node:latest"]);
        for spark in &lab.sparks[1..] {
            spark.docker(&["rmi", "vllm-node:latest"]);
            spark.docker(&["load", "-i", saved.to_str().expect("a plain path")]);
        }
        for spark in &lab.sparks {
            spark.wait_for_sshd(&lab.directory);
        }
        lab
    }

    /// The Sparks part of a `cluster.yaml`.
    pub fn manifest(&self, rest: &str) -> String {
        let mut text = String::from("version: 1\nname: lab\nsparks:\n");
        for spark in &self.sparks {
            text += &format!(
                "  {}: {{ address: {}, user: root, key: {}, docker_socket: {}, floor_gib: 0.5,\n    \
                 fabric: {{ ip: {}, eth_if: eth0 }} }}\n",
                spark.name,
                spark.address,
                self.directory.join("key").display(),
                spark.socket().display(),
                spark.address
            );
        }
        text + rest
    }

    pub fn spark(&self, name: &str) -> &Spark {
        self.sparks.iter().find(|spark| spark.name == name).expect("a Spark of this lab")
    }

    /// A data directory whose known hosts hold the Sparks' real keys.
    pub fn data(&self, name: &str) -> PathBuf {
        let data = self.directory.join(name);
        fs::create_dir_all(&data).expect("a data directory");
        let known: String = self
            .sparks
            .iter()
            .map(|spark| {
                let key = fs::read_to_string(spark.directory.join("host_key.pub")).expect("the host key");
                format!("{} {key}", spark.address)
            })
            .collect();
        fs::write(data.join("known_hosts"), known).expect("known hosts");
        data
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for spark in &self.sparks {
                let state = spark.home().join(".local/state/spark-control/lab");
                eprintln!("---- {}\n{}", spark.name, spark.audit());
                eprintln!("{}", sh(&format!("tail -n 50 {}/jobs/*/log || true", state.display())));
            }
        }
        clear(&self.directory, self.number);
    }
}

impl Spark {
    pub fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// Ask this Spark's Docker engine.
    pub fn try_docker(&self, arguments: &[&str]) -> Output {
        Command::new("/usr/bin/docker")
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
            .then(|| String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
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

    fn inside(&self, text: &str) -> String {
        sh(&format!("nsenter --net=/run/netns/{} sh -c '{text}'", self.namespace))
    }

    fn make(&self, bridge: &str, number: u8, index: usize, lab: &Path) {
        let d = self.directory.display();
        let bin = self.directory.join("bin");
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/spark");
        fs::create_dir_all(&bin).expect("bin");
        fs::create_dir_all(self.home().join(".ssh")).expect("home");
        fs::create_dir_all(self.home().join("spark-vllm-docker")).expect("the launcher's directory");
        fs::copy(here.join("nvidia-smi"), bin.join("nvidia-smi")).expect("nvidia-smi");
        fs::copy(here.join("launch-cluster.sh"), self.home().join("spark-vllm-docker/launch-cluster.sh"))
            .expect("the launcher");
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
        let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        self.start_engine(&path, number, index);
        fs::write(
            self.directory.join("sshd_config"),
            format!(
                "Port 22\nListenAddress {}\nHostKey {d}/host_key\nPidFile {d}/sshd.pid\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nAuthorizedKeysFile {}/key.pub\n\
                 SetEnv PATH={path} DOCKER_HOST=unix://{d}/docker.sock HOME={d}/home\n",
                self.address,
                lab.display()
            ),
        )
        .expect("sshd_config");
        // The Spark's own home, though every Spark's user is this machine's root.
        fs::create_dir_all("/run/sshd").expect("sshd's own directory");
        self.start_sshd();
    }

    pub fn start_sshd(&self) {
        let d = self.directory.display();
        sh(&format!(
            "nsenter --net=/run/netns/{} unshare -m -u sh -c '
                hostname {}; mount --bind {d}/home /root; exec /usr/sbin/sshd -f {d}/sshd_config -E {d}/sshd.log'",
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
        Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .args(["unshare", "-u", "setsid", "--fork", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .status()
            .expect("the engine starts");
    }

    fn wait_for_engine(&self) {
        wait_until(&format!("the engine of {}", self.name), Duration::from_secs(60), || {
            self.try_docker(&["version"]).status.success()
        });
    }

    fn wait_for_sshd(&self, lab: &Path) {
        wait_until(&format!("sshd of {}", self.name), Duration::from_secs(20), || {
            Command::new("ssh")
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

fn take_number(base: &Path) -> (u8, File) {
    let start = Instant::now();
    loop {
        for number in 1..=NUMBERS {
            let file = File::create(base.join(format!("{number}.lock"))).expect("a lock file");
            if file.try_lock().is_ok() {
                return (number, file);
            }
        }
        assert!(start.elapsed() < Duration::from_secs(600), "no lab became free in 10 min");
        sleep(Duration::from_millis(500));
    }
}

/// End what runs in this lab, by the process ids it wrote down, and remove it.
fn clear(directory: &Path, number: u8) {
    for index in 1..=4 {
        let d = directory.join(format!("spark{index}"));
        let socket = d.join("docker.sock");
        if socket.exists() {
            try_sh(&format!(
                "export DOCKER_HOST=unix://{}; ids=$(timeout 5 docker ps -aq) && [ -n \"$ids\" ] &&
                 timeout 20 docker rm -f $ids",
                socket.display()
            ));
        }
        for pid_file in ["sshd.pid", "docker.pid"] {
            let Ok(pid) = fs::read_to_string(d.join(pid_file)) else { continue };
            let pid = pid.trim();
            try_sh(&format!(
                "kill -CONT {pid}; kill -TERM {pid}; i=0; while kill -0 {pid} && [ $i -lt 100 ]; do sleep 0.1; \
                 i=$((i+1)); done; kill -KILL {pid}"
            ));
        }
        // Sessions of sshd and jobs that are still in this Spark's network.
        let ns = format!("sclab{number}-{index}");
        try_sh(&format!("for pid in $(ip netns pids {ns}); do kill -KILL $pid; done"));
        try_sh(&format!(
            "for m in $(grep -o '{}/[^ ]*' /proc/self/mounts | sort -r); do umount -l $m; done",
            d.display()
        ));
        try_sh(&format!("ip netns del {ns}"));
        try_sh(&format!("ip link del scl{number}v{}", index - 1));
    }
    try_sh(&format!(
        "ip link del sclab{number}; iptables -D FORWARD -i sclab{number} -o sclab{number} -j ACCEPT"
    ));
    let _ = fs::remove_dir_all(directory);
}

fn keys(directory: &Path) {
    sh(&format!("ssh-keygen -q -t ed25519 -N '' -f {}/key", directory.display()));
}

/// The image as a tar file: busybox and the lab's engine. Made once per build of the engine.
fn image(base: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/image/vllm.rs");
    let lock = File::create(base.join("image.lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let text = fs::read(&source).expect("the engine's source");
    let tar = base.join("image.tar");
    let made_from = base.join("image.source");
    if tar.exists() && fs::read(&made_from).is_ok_and(|old| old == text) {
        return tar;
    }
    let root = base.join("root");
    let _ = fs::remove_dir_all(&root);
    for path in ["bin", "usr/bin", "tmp", "proc", "etc"] {
        fs::create_dir_all(root.join(path)).expect("the image's root");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    for applet in ["sh", "sleep", "cat", "echo", "kill", "true"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("an applet");
    }
    run(Command::new("rustc")
        .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-o"])
        .arg(root.join("usr/bin/vllm"))
        .arg(&source));
    sh(&format!("tar -C {} -cf {} .", root.display(), tar.display()));
    fs::write(made_from, text).expect("a note of the source");
    tar
}

/// The program under test.
pub struct Controller {
    child: Child,
    pub data: PathBuf,
    pub file: PathBuf,
    pub log: PathBuf,
}

impl Controller {
    /// `serve`, with a data directory of that name.
    pub fn serve(lab: &Lab, name: &str, file: &Path) -> Self {
        let data = lab.data(name);
        let log = data.join("serve.log");
        let output = File::options().create(true).append(true).open(&log).expect("the log");
        let child = Command::new(env!("CARGO_BIN_EXE_spark-control"))
            .arg("--file")
            .arg(file)
            .arg("--data")
            .arg(&data)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("RUST_LOG", "spark_control=info")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the program starts");
        Self { child, data, file: file.to_owned(), log }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A command beside it, with the same data directory.
    pub fn command(&self, arguments: &[&str]) -> Output {
        command(&self.file, &self.data, arguments)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {}\n{}", self.log.display(), self.log());
        }
    }
}

pub fn command(file: &Path, data: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spark-control"))
        .arg("--file")
        .arg(file)
        .arg("--data")
        .arg(data)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Replace the file as an editor does: write beside it, rename over it.
pub fn save(file: &Path, text: &str) {
    let new = file.with_extension("new");
    File::create(&new).and_then(|mut f| f.write_all(text.as_bytes())).expect("the new file");
    fs::rename(&new, file).expect("renamed over");
}
