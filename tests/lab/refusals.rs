//! What a Spark refuses, told apart: real `sshd`, real keys, a real Docker Engine. Each cause is mended in another place.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Output};

use crate::{
    cluster::{MODELS, on_one_spark},
    controller::{program, text},
    lab::Lab,
    shell::{hermetic, sh},
    spark::BOT,
};

/// A command with a controller of its own.
fn command(file: &Path, data: &Path, arguments: &[&str]) -> Output {
    let mut command = hermetic(program());
    command.arg("--file").arg(file).arg("--data").arg(data).args(arguments);
    command.output().unwrap()
}

/// The lab's file, changed.
fn file(lab: &Lab, change: impl Fn(String) -> String) -> std::path::PathBuf {
    let file = lab.directory.join("cluster.yaml");
    fs::write(&file, change(lab.manifest(&on_one_spark(&format!("model: none\n{MODELS}"))))).unwrap();
    file
}

fn status(lab: &Lab, change: impl Fn(String) -> String) -> String {
    let file = file(lab, change);
    text(&command(&file, &lab.data("data"), &["status"]))
}

/// If this failed, an owner would be told that "Docker did not answer" in four cases that are mended in four places.
#[test]
fn a_docker_engine_that_cannot_be_asked_says_why() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let well = status(&lab, |text| text);
    assert!(well.contains("spark1: reachable"), "{well}");
    let elsewhere =
        status(&lab, |text| text.replace(&spark.socket().display().to_string(), "/nowhere/docker.sock"));
    assert!(elsewhere.contains("no socket at /nowhere/docker.sock"), "{elsewhere}");
    assert!(elsewhere.contains("docker_socket"), "{elsewhere}");

    let config = spark.directory.join("sshd_config");
    let before = fs::read_to_string(&config).unwrap();
    for option in ["AllowStreamLocalForwarding no", "DisableForwarding yes"] {
        spark.stop_sshd();
        fs::write(&config, format!("{option}\n{before}")).unwrap();
        spark.start_sshd();
        spark.wait_for_sshd(&lab.directory);
        let told = status(&lab, |text| text);
        assert!(told.contains("does not forward the socket"), "{option}: {told}");
    }
    fs::write(&config, before).unwrap();

    // Somebody who may log in, and may not use Docker.
    spark.make_bot_user(&lab.directory);
    sh(&format!("chmod 660 {}", spark.socket().display()));
    let told = status(&lab, |text| text.replace("user: root", &format!("user: {BOT}")));
    assert!(told.contains(&format!("`{BOT}` may not use {}", spark.socket().display())), "{told}");
    assert!(told.contains(&format!("sudo usermod -aG docker {BOT}")), "{told}");
}

/// If this failed, an account that may not run anything would be told as a broken connection.
#[test]
fn a_login_shell_that_runs_nothing_is_told() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    spark.make_bot_user(&lab.directory);
    let passwd = spark.directory.join("passwd");
    let users = fs::read_to_string(&passwd).unwrap();
    for (shell, says) in [
        ("/usr/sbin/nologin", "This account is currently not available"),
        ("/bin/false", "its login shell ended without running anything"),
        ("/nowhere/shell", "`sudo journalctl -u ssh` says why"),
    ] {
        fs::write(&passwd, users.replace("/bot:/bin/sh", &format!("/bot:{shell}"))).unwrap();
        let told = status(&lab, |text| text.replace("user: root", &format!("user: {BOT}")));
        let line = told.lines().find(|line| line.starts_with("spark1: UNREACHABLE")).unwrap_or_default();
        assert!(line.contains(says), "{shell}: {told}");
    }
}

/// If this failed, a key that ssh does not even read would be called one that the Spark does not know.
#[test]
fn a_key_that_is_refused_says_why() {
    let lab = Lab::up(1);
    let key = lab.directory.join("key").display().to_string();
    let own = |name: &str| lab.directory.join(name);
    let with = |name: &str| {
        let place = own(name).display().to_string();
        status(&lab, |text| text.replace(&format!("key: {key},"), &format!("key: {place},")))
    };
    sh(&format!("ssh-keygen -q -t ed25519 -N '' -f {}", own("stranger").display()));
    let told = with("stranger");
    assert!(
        told.contains("refused the key for the user `root`") && told.contains("authorized_keys"),
        "{told}"
    );

    sh(&format!("ssh-keygen -q -t ed25519 -N 'a passphrase' -f {}", own("closed").display()));
    let told = with("closed");
    assert!(told.contains("has a passphrase"), "{told}");

    fs::copy(&key, own("open")).unwrap();
    fs::set_permissions(own("open"), fs::Permissions::from_mode(0o644)).unwrap();
    let told = with("open");
    assert!(told.contains("others can read it") && told.contains("chmod 600"), "{told}");

    let told = with("stranger.pub");
    assert!(told.contains("public half"), "{told}");
}

/// If this failed, a Spark with an older host key could not be used, and closed ports, silent ones and machines that are off would
/// all be asked whether their SSH server runs.
#[test]
fn host_keys_of_every_kind_are_shown_and_a_missing_one_says_why() {
    let lab = Lab::up(1);
    let spark = lab.spark("spark1");
    let config = spark.directory.join("sshd_config");
    let before = fs::read_to_string(&config).unwrap();
    let cluster = file(&lab, |text| text);
    for (kind, name) in [("rsa", "RSA"), ("ecdsa", "ECDSA")] {
        let key = spark.directory.join(format!("host_key_{kind}"));
        sh(&format!("ssh-keygen -q -t {kind} -N '' -f {}", key.display()));
        spark.stop_sshd();
        let old = format!("HostKey {}/host_key\n", spark.directory.display());
        fs::write(&config, before.replace(&old, &format!("HostKey {}\n", key.display()))).unwrap();
        spark.start_sshd();
        // Whoever waits for the lab's own key would wait for ever.
        std::thread::sleep(std::time::Duration::from_secs(1));
        let data = lab.directory.join(format!("data-{kind}"));
        let shown = text(&command(&cluster, &data, &["trust", "spark1"]));
        assert!(shown.contains(&format!("shows the {name} key SHA256:")), "{shown}");
        assert!(shown.contains(&format!("ssh_host_{kind}_key.pub")), "{shown}");
        let fingerprint = shown.split_whitespace().find(|word| word.starts_with("SHA256:")).unwrap();
        let pinned = command(&cluster, &data, &["trust", "spark1", "--fingerprint", fingerprint]);
        assert!(pinned.status.success(), "{}", text(&pinned));
        let status = text(&command(&cluster, &data, &["status"]));
        assert!(status.contains("spark1: reachable"), "{status}");
    }

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let trust = |port: u16| {
        let address = format!("address: 127.0.0.1, ssh_port: {port}");
        let cluster = file(&lab, |text| text.replacen(&format!("address: {}", spark.address), &address, 1));
        text(&command(&cluster, &lab.directory.join("data-none"), &["trust", "spark1"]))
    };
    let told = trust(port);
    assert!(told.contains("is open and says nothing"), "{told}");
    let told = trust(closed);
    assert!(told.contains("nothing listens on port"), "{told}");
}
