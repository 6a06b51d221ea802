//! Real Sparks on one machine: network namespaces with their own addresses, each with a real sshd and a real Docker
//! engine. Everything is under one directory and is ended by process id.
//!
//! Each test takes a numbered lab (its own bridge and subnet out of 192.0.2.0/24) and owns it until it ends; what a
//! killed test left behind is cleared by the next one to take the number.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    image::image,
    shell::{sh, try_sh},
    spark::Spark,
};

const NUMBERS: u8 = 8;
pub const CONTAINER: &str = "vllm_node";

pub struct Lab {
    pub directory: PathBuf,
    number: u8,
    pub sparks: Vec<Spark>,
    _lock: File,
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
