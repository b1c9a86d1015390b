//! A proxy in front of an S3 server, which injects the faults of a network. It passes on one request per connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use s3_fixture::Connection;

use super::faults::{Fault, Plan};

/// Longest delay of a request: longer than a lease of 3 s.
const MAX_DELAY: Duration = Duration::from_secs(4);
/// Longest time during which all connections are closed.
const MAX_OUTAGE: Duration = Duration::from_millis(1500);

const INTERNAL_ERROR: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A running proxy. It stops accepting connections when it is dropped.
pub(super) struct Proxy {
    connection: Connection,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: String,
    plan: Arc<Plan>,
    outage_until: Mutex<Instant>,
    is_stopped: AtomicBool,
}

impl Proxy {
    /// Starts a proxy in front of a server.
    pub(super) fn start(server: &Connection, plan: Arc<Plan>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server: server.endpoint.strip_prefix("http://").unwrap().to_owned(),
            plan,
            outage_until: Mutex::new(Instant::now()),
            is_stopped: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.is_stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = accepting.clone();
                // An error means that one of the two sides closed its connection.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        let connection = Connection { endpoint: format!("http://{address}"), ..server.clone() };
        Self { connection, address, shared }
    }

    /// What a client needs in order to connect to the server through the proxy.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts connections.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        if Instant::now() < *self.outage_until.lock().unwrap() {
            return Ok(());
        }
        let Some(request) = Request::read(&mut client)? else { return Ok(()) };
        let Some((fault, fraction)) = self.plan.draw(&request.line) else {
            return client.write_all(&self.forward(&request.bytes)?);
        };
        match fault {
            Fault::DropRequest => return Ok(()),
            Fault::TruncateRequest => {
                return TcpStream::connect(&self.server)?.write_all(half(&request.bytes, 0));
            }
            Fault::Outage => {
                *self.outage_until.lock().unwrap() = Instant::now() + MAX_OUTAGE.mul_f64(fraction);
                return Ok(());
            }
            // Most delays are short.
            Fault::Delay => thread::sleep(MAX_DELAY.mul_f64(fraction.powi(3))),
            Fault::Repeat => drop(self.forward(&request.bytes)?),
            _ => {}
        }
        let answer = self.forward(&request.bytes)?;
        match fault {
            Fault::DropAnswer => Ok(()),
            Fault::Lie => client.write_all(INTERNAL_ERROR),
            Fault::TruncateAnswer => client.write_all(half(&answer, head_length(&answer))),
            _ => client.write_all(&answer),
        }
    }

    /// The complete answer of the server to a request.
    fn forward(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(&self.server)?;
        server.write_all(request)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// A request that makes the server close the connection after its answer.
struct Request {
    /// Method and path, for the log.
    line: String,
    bytes: Vec<u8>,
}

impl Request {
    /// Reads a request; `None` if the client closes the connection before it.
    fn read(client: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        while head_length(&bytes) == 0 {
            let mut piece = [0; 8 << 10];
            match client.read(&mut piece)? {
                0 => return Ok(None),
                n => bytes.extend_from_slice(&piece[..n]),
            }
        }
        let head = String::from_utf8_lossy(&bytes[..head_length(&bytes)]).into_owned();
        let (line, headers) = head.split_once("\r\n").unwrap();
        let header = |name: &str| {
            let lines = headers.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).next()
        };
        assert_eq!(header("transfer-encoding"), None, "the proxy reads only bodies with a length: {head}");
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let n_missing = head.len() + length - bytes.len();
        let mut missing = vec![0; n_missing];
        client.read_exact(&mut missing)?;
        bytes.extend(missing);
        bytes.splice(line.len() + 2..line.len() + 2, *b"connection: close\r\n");
        let line = line.trim_end_matches(" HTTP/1.1").to_owned();
        Ok(Some(Self { line, bytes }))
    }
}

/// The length of a head with its empty line; 0 while it is incomplete.
fn head_length(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4)
}

/// The first `n_kept` bytes and half of the rest.
fn half(bytes: &[u8], n_kept: usize) -> &[u8] {
    &bytes[..n_kept + (bytes.len() - n_kept) / 2]
}
