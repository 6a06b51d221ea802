//! What a controller stands on: ways to Sparks, HTTP, the clock, its name. The simulated world has another.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    core::model::{
        desired::{ReachMethod, Spark},
        name::SparkName,
    },
    host::{SharedTransport, local::LocalTransport, ssh},
    probe::http::{Http, HttpClient},
};

/// Makes the way to a Spark. The simulated world has its own.
pub type ConnectSpark = dyn Fn(&SparkName, &Spark) -> SharedTransport + Send + Sync;

/// What a controller stands on.
pub struct OutsideWorld {
    pub connect: Box<ConnectSpark>,
    pub http: Arc<dyn Http>,
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// Names a controller that has no name yet.
    pub name: String,
    /// Names this start of it.
    pub start: String,
    /// A file that was written this short a time ago may still be being written.
    pub quiet: Duration,
}

/// The real world.
pub fn real_world(data: &std::path::Path) -> std::io::Result<OutsideWorld> {
    let data = data.to_owned();
    let directory = control_directory(&std::path::absolute(&data)?)?;
    ssh::prepare(&directory)?;
    Ok(OutsideWorld {
        connect: Box::new(move |name, spark| connect(name, spark, &data, &directory)),
        http: Arc::new(HttpClient::new(crate::apply::secret)),
        now: Box::new(Timestamp::now),
        name: random_name(),
        start: random_hex(2),
        quiet: crate::manifest::watch::QUIET,
    })
}

/// The way to a Spark. `directory` is where SSH's sockets are.
fn connect(
    name: &SparkName,
    spark: &Spark,
    data: &std::path::Path,
    directory: &std::path::Path,
) -> SharedTransport {
    match &spark.reach {
        ReachMethod::Local => {
            Arc::new(LocalTransport::new(std::path::Path::new(spark.docker_socket.as_str())))
        }
        ReachMethod::Ssh { user, port, key } => Arc::new(ssh::SshTransport::new(ssh::SshTarget {
            name: name.to_string(),
            address: spark.address.to_string(),
            user: user.to_string(),
            port: *port,
            key: key.as_ref().map_or_else(|| data.join("id_ed25519"), |key| PathBuf::from(key.as_str())),
            known_hosts: data.join("known_hosts"),
            docker_socket: PathBuf::from(spark.docker_socket.as_str()),
            directory: directory.to_owned(),
        })),
    }
}

/// Of the 108 bytes that a Unix socket's path may have, 24 are the connection's and 24 those of a name that ssh lengthens while it
/// makes the socket.
const LONGEST_DIRECTORY: usize = 59;

/// Where SSH's sockets are: in the user's runtime directory, else in the data directory. Where both are too long, below `/tmp`, by a
/// name that nobody can guess, and make before; a link in the data directory remembers it.
fn control_directory(data: &std::path::Path) -> std::io::Result<PathBuf> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let of_user = of_user.filter(|base| base.is_absolute() && base.is_dir());
    let of_user =
        of_user.map(|base| base.join(format!("spark-control-{:08x}", hasher.finish() & 0xffff_ffff)));
    let mut directories = of_user.into_iter().chain([data.join("ssh")]);
    if let Some(directory) = directories.find(|directory| directory.as_os_str().len() <= LONGEST_DIRECTORY) {
        return Ok(directory);
    }
    let link = data.join("ssh-is-in");
    if let Some(known) = std::fs::read_link(&link).ok().filter(|known| ssh::is_of_this_user(known)) {
        return Ok(known);
    }
    let directory = PathBuf::from("/tmp").join(format!("spark-control-{}", random_hex(4)));
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&directory, &link)?;
    Ok(directory)
}

/// No two controllers may have the same.
pub fn random_name() -> String {
    format!("c{}", random_hex(6))
}

/// That many random bytes.
pub fn random_hex(bytes: usize) -> String {
    let mut bytes = vec![0_u8; bytes];
    let read = std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    read.expect("every Linux has /dev/urandom; without it two controllers could have one name");
    crate::core::model::spec_hash::hex(&bytes)
}
