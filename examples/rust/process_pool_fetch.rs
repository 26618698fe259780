//! Three URLs fetched by a pool of processes (row F2).
//!
//! The example starts its own HTTP server on 127.0.0.1, so it needs no network. One of the three
//! URLs does not exist: its task returns an error, which is a value like any other; the other two
//! do not care. `as_completed` yields the futures as they end, and a future's name says which URL
//! it belongs to.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use manyhands::{ProcessPool, ReturnWhen, as_completed, wait};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the body behind a path of the server, or a sentence.
#[manyhands::task]
fn fetch(server: SocketAddr, path: String) -> Result<String, String> {
    get(server, &path).map_err(|error| error.to_string())?
}

fn get(server: SocketAddr, path: &str) -> std::io::Result<Result<String, String>> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default().trim_start_matches("HTTP/1.0 ");
    Ok(match status {
        "200 OK" => Ok(body.to_owned()),
        _ => Err(format!("the server answered {status}")),
    })
}

/// Serves two pages and answers 404 to everything else, until the program ends.
fn serve(listener: TcpListener) {
    for stream in listener.incoming().flatten() {
        // A client that went away is no concern of the others.
        let _ = answer(stream);
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?).lines();
    let line = request.next().unwrap_or_else(|| Ok(String::new()))?;
    while request.next().transpose()?.is_some_and(|header| !header.is_empty()) {}
    let (status, body) = match line.split(' ').nth(1) {
        Some("/apples") => ("200 OK", "apples ".repeat(100)),
        Some("/pears") => ("200 OK", "pears ".repeat(200)),
        _ => ("404 Not Found", String::new()),
    };
    write!(stream, "HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn main() -> Result<(), Box<dyn Error>> {
    manyhands::init();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let server = listener.local_addr()?;
    thread::spawn(|| serve(listener));

    let pool = ProcessPool::new(3)?;
    let submit = |path: &str| {
        let options = pool.options().name(path).timeout(2 * TIMEOUT);
        options.submit(fetch::task, (server, path.to_owned()))
    };
    let paths = ["/apples", "/nothing-here", "/pears"];
    let mut futures = paths.into_iter().map(submit).collect::<Result<Vec<_>, _>>()?;

    let ended = wait(&mut futures, Some(2 * TIMEOUT), ReturnWhen::FirstCompleted);
    println!("at least one of {} is done: {}", paths.len(), !ended.done.is_empty());

    for future in as_completed(futures) {
        let path = future.name().unwrap_or_default().to_owned();
        match future.result()? {
            Ok(body) => println!("{path}: {} bytes", body.len()),
            Err(why) => println!("{path}: failed, {why}"),
        }
    }
    pool.shutdown();
    Ok(())
}
