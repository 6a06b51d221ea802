//! Why a Docker Engine could not be asked: one more question, on the Spark itself. Four causes look the same through the connection,
//! and each is mended in another place.

use std::time::Duration;

use crate::host::{Program, Transport, Unreachable};

const DEADLINE: Duration = Duration::from_secs(8);

/// `why` with its cause, when it is about the Engine and the Spark can tell.
pub async fn told(transport: &dyn Transport, socket: &str, why: Unreachable) -> Unreachable {
    let Unreachable::Engine(said) = &why else { return why };
    let program = Program::new("socket", include_str!("socket.sh")).with("socket", socket);
    let Ok(output) = transport.run(&program, DEADLINE).await else { return why };
    cause(output.stdout.trim(), socket, said).map_or(why, Unreachable::Docker)
}

/// What `socket.sh` found, as a sentence with what to do.
fn cause(found: &str, socket: &str, said: &str) -> Option<String> {
    let (kind, rest) = found.split_once(' ').unwrap_or((found, ""));
    Some(match (kind, rest) {
        ("missing", "running") => {
            format!("Docker runs there, and has no socket at {socket}: name the one that it has with `docker_socket`")
        }
        ("missing", "stopped") => {
            "Docker is not running there; start it with `sudo systemctl enable --now docker`".to_owned()
        }
        ("missing", _) => format!("there is no Docker there, and no socket at {socket}; install Docker"),
        ("forbidden", user) => format!(
            "`{user}` may not use {socket} there; let it with `sudo usermod -aG docker {user}`, which counts from the next login"
        ),
        ("dead", "running") => {
            format!("Docker runs there, and does not answer at {socket}; `sudo journalctl -u docker` says why")
        }
        ("dead", _) => format!(
            "nothing answers at {socket}: Docker is not running there; start it with `sudo systemctl enable --now docker`"
        ),
        // The connection was made for this question, and its sockets were not forwarded.
        ("answers", _) if is_refused(said) => "Docker answers there, and its SSH server does not forward the socket: set \
             `AllowStreamLocalForwarding yes` and no `DisableForwarding` in /etc/ssh/sshd_config, then `sudo systemctl reload ssh`"
            .to_owned(),
        _ => return None,
    })
}

/// The connection ended before a word of HTTP.
fn is_refused(said: &str) -> bool {
    !said.contains(" answered ") && !said.contains("API version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_with_what_mends_it() {
        let closed = "connection closed before message completed";
        for (found, said, words) in [
            ("missing running", closed, "`docker_socket`"),
            ("missing stopped", closed, "systemctl enable --now docker"),
            ("missing absent", closed, "install Docker"),
            ("forbidden alice", closed, "usermod -aG docker alice"),
            ("dead running", closed, "journalctl -u docker"),
            ("dead stopped", closed, "systemctl enable --now docker"),
            ("answers", closed, "AllowStreamLocalForwarding"),
        ] {
            let told = cause(found, "/var/run/docker.sock", said).unwrap();
            assert!(told.contains(words), "{told}");
        }
        // It answers, and its answer was the failure.
        assert_eq!(cause("answers", "/x", "/containers/json answered 500 no"), None);
        assert_eq!(cause("", "/x", closed), None);
        assert_eq!(cause("odd", "/x", closed), None);
    }
}
