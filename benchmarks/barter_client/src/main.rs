//! The compiled client that `benchmarks/mixed.py` compares with: barter-data, as a program of its
//! own would use it. Each trade goes into a histogram of its symbol and one of all, and into a list
//! of the newest thousand.
//!
//! Arguments: WebSocket URL of raw streams, number of messages, symbols ("btc eth"). Prints one JSON
//! object: CPU seconds from the first message to the last.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use barter_data::exchange::binance::Binance;
use barter_data::exchange::ExchangeServer;
use barter_data::streams::reconnect::stream::ReconnectingStream;
use barter_data::streams::reconnect::Event;
use barter_data::streams::Streams;
use barter_data::subscription::trade::PublicTrades;
use barter_instrument::exchange::ExchangeId;
use barter_instrument::instrument::market_data::kind::MarketDataInstrumentKind;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use parking_lot::RwLock;

static URL: OnceLock<String> = OnceLock::new();
const KEPT: usize = 1000;

#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
struct BenchmarkServer;

impl ExchangeServer for BenchmarkServer {
    const ID: ExchangeId = ExchangeId::BinanceSpot;

    fn websocket_url() -> &'static str {
        URL.get().expect("set first thing in main")
    }
}

/// Buckets at 1, 2 and 5 of each decade from a microsecond to ten seconds, extremes and moments,
/// shared between threads as a metrics endpoint needs it.
struct Histogram {
    bounds_us: Vec<u64>,
    counts: Vec<AtomicU64>,
    count: AtomicU64,
    sum_us: AtomicU64,
    least_us: AtomicU64,
    most_us: AtomicU64,
    mean_us: RwLock<f64>,
    squares: RwLock<f64>,
}

impl Histogram {
    fn new() -> Self {
        let decades = (0..7).map(|power| 10u64.pow(power));
        let bounds_us: Vec<u64> = decades
            .flat_map(|decade| [decade, 2 * decade, 5 * decade])
            .chain([10_000_000, u64::MAX])
            .collect();
        Self {
            counts: bounds_us.iter().map(|_| AtomicU64::new(0)).collect(),
            bounds_us,
            count: AtomicU64::new(0),
            sum_us: AtomicU64::new(0),
            least_us: AtomicU64::new(u64::MAX),
            most_us: AtomicU64::new(0),
            mean_us: RwLock::new(0.0),
            squares: RwLock::new(0.0),
        }
    }

    fn record(&self, latency_us: u64) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.sum_us.fetch_add(latency_us, Ordering::Relaxed);
        self.least_us.fetch_min(latency_us, Ordering::Relaxed);
        self.most_us.fetch_max(latency_us, Ordering::Relaxed);
        if let Some(at) = self.bounds_us.iter().position(|bound| latency_us <= *bound) {
            self.counts[at].fetch_add(1, Ordering::Relaxed);
        }
        let (mut mean, mut squares) = (self.mean_us.write(), self.squares.write());
        let apart = latency_us as f64 - *mean;
        *mean += apart / count as f64;
        *squares += apart * (latency_us as f64 - *mean);
    }
}

#[allow(dead_code)]
struct Sample {
    timestamp: DateTime<Utc>,
    symbol: String,
    exchange_ms: i64,
    receive_ms: i64,
    latency_us: u64,
}

fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the kernel to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    URL.set(arguments.next().expect("a URL")).expect("set once");
    let messages: u64 = arguments.next().and_then(|text| text.parse().ok()).expect("a number");
    let bases: Vec<String> = arguments.collect();
    let all = Histogram::new();
    let by_symbol: HashMap<String, Arc<Histogram>> = bases
        .iter()
        .map(|base| (format!("{base}usdt").to_uppercase(), Arc::new(Histogram::new())))
        .collect();
    let newest = RwLock::new(Vec::with_capacity(KEPT));
    let subscriptions = bases.into_iter().map(|base| {
        let exchange = Binance::<BenchmarkServer>::default();
        (exchange, base, "usdt".to_owned(), MarketDataInstrumentKind::Spot, PublicTrades)
    });
    let streams = Streams::<PublicTrades>::builder()
        .subscribe(subscriptions)
        .init()
        .await
        .expect("the benchmark's sender answers the subscription");
    let mut events = streams
        .select_all()
        .with_error_handler(|error| panic!("stream error: {error:?}"));
    let mut start = None;
    while all.count.load(Ordering::Relaxed) < messages {
        let Some(Event::Item(event)) = events.next().await else { panic!("the stream ended early") };
        start.get_or_insert_with(cpu_seconds);
        let receive_ms = Utc::now().timestamp_millis();
        let exchange_ms = event.time_exchange.timestamp_millis();
        let symbol = format!("{}{}", event.instrument.base, event.instrument.quote).to_uppercase();
        let latency_us = ((receive_ms - exchange_ms) * 1000).max(0) as u64;
        by_symbol[&symbol].record(latency_us);
        all.record(latency_us);
        let sample = Sample { timestamp: Utc::now(), symbol, exchange_ms, receive_ms, latency_us };
        let mut newest = newest.write();
        if newest.len() >= KEPT {
            newest.remove(0);
        }
        newest.push(sample);
    }
    let cpu_sec = cpu_seconds() - start.unwrap_or(0.0);
    println!("{{\"cpu_sec\": {cpu_sec}, \"late_ns\": []}}");
}
