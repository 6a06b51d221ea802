//! The real program, running as an owner would run it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use crate::{
    lab::Lab,
    shell::{hermetic, wait_until},
    spark::Spark,
};

/// The program, or another build of it (`just measure`).
pub fn program() -> PathBuf {
    std::env::var_os("SPARK_CONTROL_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_spark-control").into(), PathBuf::from)
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
        Self::resume(&lab.data(name), file)
    }

    /// `serve` on that Spark: in its network, with its home and programs.
    pub fn serve_on(lab: &Lab, spark: &Spark, name: &str, file: &Path) -> Self {
        let (namespace, path) = spark.place();
        let mut command = hermetic("nsenter");
        command
            .arg(format!("--net={}", namespace.display()))
            .arg(program())
            .env("HOME", spark.home())
            .env("PATH", path);
        Self::start(command, &lab.data(name), file)
    }

    /// `serve`, with what is in that data directory.
    pub fn resume(data: &Path, file: &Path) -> Self {
        Self::start(hermetic(program()), data, file)
    }

    /// `serve` with more in its environment.
    pub fn serve_with(lab: &Lab, name: &str, file: &Path, variable: &str, value: &Path) -> Self {
        let mut command = hermetic(program());
        command.env(variable, value);
        Self::start(command, &lab.data(name), file)
    }

    fn start(mut command: Command, data: &Path, file: &Path) -> Self {
        let log = data.join("serve.log");
        let output = File::options().create(true).append(true).open(&log).expect("the log");
        let child = command
            .arg("--file")
            .arg(file)
            .arg("--data")
            .arg(data)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("RUST_LOG", "spark_control=info")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the program starts");
        Self { child, data: data.to_owned(), file: file.to_owned(), log }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A command beside it, with the same data directory.
    pub fn command(&self, arguments: &[&str]) -> Output {
        command(&self.file, &self.data, arguments)
    }

    /// The plan of this moment.
    pub fn plan_id(&self) -> String {
        let output = self.command(&["plan", "--now", "--output", "json"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(told, "", "there is something else to say");
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        plan["id"].as_str().expect("its id").to_owned()
    }

    /// Ask on the control socket.
    pub fn ask(&self, method: &str, path: &str) -> serde_json::Value {
        let mut stream = UnixStream::connect(self.data.join("control.sock")).expect("it serves");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
        .expect("the question is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        // Chunked or not: the object is between its brackets.
        serde_json::from_str(&body[body.find('{').expect("an object")..=body.rfind('}').expect("an object")])
            .expect("JSON")
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        let address = || {
            let log = self.log();
            let rest = &log[log.find("listen=")? + "listen=".len()..];
            Some(format!("http://{}", rest.split_whitespace().next()?))
        };
        wait_until("its address", Duration::from_secs(30), || address().is_some());
        address().expect("it was there")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
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
    hermetic(program())
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
