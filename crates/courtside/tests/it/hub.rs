//! A small server that imitates the Hugging Face Hub: it responds to `HEAD` and to range requests for
//! `/{repo}/resolve/{revision}/{file}` with the revision and the ETag of the file.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// Contents and behaviour of the server, and the requests that it received.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// The revision of `main`.
    pub(crate) commit: String,
    /// Status of every response, in place of a file.
    pub(crate) refuse: Option<u16>,
    /// Address of a content server that requests for large files are redirected to.
    pub(crate) content: Option<String>,
    /// Responses to truncate, in order: the name of a file, and the number of bytes to send.
    pub(crate) cuts: VecDeque<(String, usize)>,
    /// Requests since [`Hub::requests`] was last called.
    pub(crate) requests: Vec<Request>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `GET` or `HEAD`.
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    /// First byte of the range, and the end of the range (exclusive).
    pub(crate) range: (usize, Option<usize>),
}

/// A running server. Its thread ends with the test process.
pub(crate) struct Hub {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    pub(crate) fn start(files: Vec<(String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = State { files, commit: "0123abc".to_owned(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Clients may close the connection early.
                let _ = respond(&stream.unwrap(), &shared);
            }
        });
        Self { address, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Takes the requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, path, authorization: None, range: (0, None) };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.to_owned()),
            "range" => {
                let (from, to) = value.trim_start_matches("bytes=").split_once('-').unwrap();
                request.range = (from.parse().unwrap(), to.parse::<usize>().ok().map(|to| to + 1));
            }
            _ => {}
        }
    }
    Ok(request)
}

fn respond(mut stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let request = read_request(stream)?;
    let mut state = state.lock().unwrap();
    state.requests.push(request.clone());
    let path = request.path.strip_prefix("/facebook/sam3/resolve/").unwrap_or_default();
    let (revision, name) = path.split_once('/').unwrap_or_default();
    let is_known = revision == "main" || revision == state.commit;
    let body = state.files.iter().find(|(n, _)| is_known && n == name).map(|(_, body)| body.clone());
    let status = match (&body, state.refuse) {
        (_, Some(status)) => status,
        (None, _) => 404,
        (Some(body), _) if request.range.0 >= body.len() => 416,
        _ => 206,
    };
    let (Some(body), 206) = (body, status) else {
        let head = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return stream.write_all(head.as_bytes());
    };
    let is_head = request.method == "HEAD";
    if let Some(content) = state.content.as_ref().filter(|_| name.ends_with(".safetensors")) {
        let head = format!(
            "HTTP/1.1 302 Found\r\nx-repo-commit: {}\r\nx-linked-etag: \"{}\"\r\nx-linked-size: {}\r\n\
             Location: {content}{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            state.commit,
            sha256(&body),
            body.len(),
            request.path
        );
        return stream.write_all(head.as_bytes());
    }
    let (from, to) = (request.range.0, request.range.1.unwrap_or(body.len()).min(body.len()));
    let commit = state.commit.clone();
    let tag = format!("{commit}-{}", name.replace('.', "-"));
    let part = &body[from..to];
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nx-repo-commit: {commit}\r\netag: \"{tag}\"\r\nContent-Length: {}\r\n\
         Content-Range: bytes {from}-{}/{}\r\nConnection: close\r\n\r\n",
        part.len(),
        to - 1,
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    if is_head {
        return Ok(());
    }
    let cut = state.cuts.front().filter(|(file, _)| file == name);
    let sent = cut.map_or(part.len(), |(_, after)| part.len().min(*after));
    if cut.is_some() {
        state.cuts.pop_front();
    }
    stream.write_all(&part[..sent])
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
