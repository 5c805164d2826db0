//! A node's HTTP interface, asked with nothing but a socket, also from inside a network namespace.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

/// How long a connection may take, and an answer.
const ANSWER_MAX: Duration = Duration::from_secs(40);

/// Where a node's HTTP interface is.
#[derive(Debug, Clone)]
pub struct Door {
    /// Its address.
    pub address: SocketAddr,
    /// The network namespace in which that address is meant; the test's own if absent.
    pub network: Option<String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Status line and headers, lower case.
    pub head: String,
    /// Body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.status, self.body))
    }
}

impl Door {
    /// Connects.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let address = self.address;
        let connect = move || TcpStream::connect_timeout(&address, Duration::from_secs(5));
        let Some(network) = self.network.clone() else { return connect() };
        // A socket stays in the namespace of the thread that made it; a thread of its own goes there for that.
        let thread = std::thread::spawn(move || {
            setns(File::open(format!("/run/netns/{network}"))?, CloneFlags::CLONE_NEWNET)?;
            connect()
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the connecting thread panicked")))
    }

    /// Asks once. `body` is sent if it is not empty.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("no whole answer"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no status"))?;
        Ok(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
    }

    /// What a path shows.
    ///
    /// # Errors
    /// One sentence, also for any other status than 200.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let answer = self.ask("GET", path, b"").map_err(|error| format!("GET {path}: {error}"))?;
        match answer.status {
            200 => Ok(answer.json()),
            status => Err(format!("GET {path}: {status}: {}", answer.body)),
        }
    }

    /// Reads a stream of server-sent events to its end; `take` gets each event's data.
    pub(crate) fn stream(&self, path: &str, mut take: impl FnMut(&str)) -> io::Result<()> {
        let mut stream = self.connect()?;
        // By HTTP/1.0 the answer comes without chunks, as it is.
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address)?;
        for line in BufReader::new(stream).lines() {
            if let Some(data) = line?.strip_prefix("data:") {
                take(data.trim_start());
            }
        }
        Ok(())
    }
}
