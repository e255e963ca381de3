//! The compiled client that `benchmarks/receive.py` compares with: tokio-tungstenite, rustls and
//! serde, one thread, a timestamp in the program for each message.
//!
//! Arguments: URL, file with the certificate authority (PEM), `errors` to note each message's
//! error. Prints one JSON object: CPU seconds from the upgrade to the end, errors in nanoseconds.

use std::collections::HashMap;
use std::io::BufReader;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{connect_async_tls_with_config, Connector};

#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(rename = "E")]
    event_us: i64,
    #[serde(rename = "t")]
    id: u64,
    #[serde(rename = "s")]
    symbol: &'a str,
    #[serde(rename = "p")]
    sent_ns: &'a str,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    data: Trade<'a>,
}

fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the kernel to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as i64
}

/// A histogram of the probe's resolution: 256 buckets to the power of two.
struct Histogram {
    buckets: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        let key = (seconds.abs().max(1e-12).log2() * 256.0).ceil() as i64 + 40 * 256;
        self.buckets[key.clamp(0, 60 * 256 - 1) as usize] += 1;
        self.sum += seconds;
    }
}

async fn receive(url: &str, authority: &str, errors: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut roots = rustls::RootCertStore::empty();
    let file = std::fs::File::open(authority)?;
    for certificate in rustls_pemfile::certs(&mut BufReader::new(file)) {
        roots.add(certificate?)?;
    }
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = Connector::Rustls(Arc::new(config));
    let (mut stream, _) = connect_async_tls_with_config(url, None, true, Some(connector)).await?;
    let mut histogram = Histogram { buckets: vec![0; 60 * 256], sum: 0.0 };
    let (mut gaps, mut late_ns) = (0u64, Vec::new());
    let mut last_ids: HashMap<String, u64> = HashMap::new();
    let start = cpu_seconds();
    while let Some(message) = stream.next().await {
        let Ok(Message::Text(text)) = message else { break };
        let timestamp_ns = now_ns();
        let trade = serde_json::from_str::<Frame>(&text)?.data;
        match last_ids.get_mut(trade.symbol) {
            Some(last_id) => {
                gaps += u64::from(trade.id != *last_id + 1);
                *last_id = trade.id;
            }
            None => {
                last_ids.insert(trade.symbol.to_owned(), trade.id);
            }
        }
        histogram.observe((timestamp_ns - trade.event_us * 1000) as f64 * 1e-9);
        if errors {
            late_ns.push(timestamp_ns - trade.sent_ns.parse::<i64>()?);
        }
    }
    let cpu_sec = cpu_seconds() - start;
    assert_eq!(gaps, 0);
    println!("{}", serde_json::json!({"cpu_sec": cpu_sec, "late_ns": late_ns}));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let errors = arguments.get(3).is_some_and(|argument| argument == "errors");
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a provider of cryptography is installed already")?;
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?
        .block_on(receive(&arguments[1], &arguments[2], errors))
}
