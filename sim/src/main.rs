fn main() { let seeds: u64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(10);
 let first: u64 = std::env::args().nth(2).and_then(|a| a.parse().ok()).unwrap_or(1);
 let scenario = ordu_sim::scenario::find(&std::env::args().nth(3).unwrap_or("all".into())).unwrap();
 let options = ordu_sim::plan::Options { nodes: 5, ops: 200, scenario };
 if std::env::args().nth(4).is_some() { let (o, _) = ordu_sim::world::run(first, options, Some(Box::new(std::io::BufWriter::new(std::fs::File::create("/tmp/trace").unwrap())))); println!("{o:?}"); return; }
 let t = std::time::Instant::now();
 let ran = ordu_sim::sweep::sweep(first, seeds, options, 2, false, |_| {});
 let mut n = 0;
 for r in &ran { if let Some(v) = &r.outcome.violation { n += 1; if n < 10 { println!("{} {v:?}", r.outcome.seed); } } }
 let ev: u64 = ran.iter().map(|r| r.outcome.events).sum();
 println!("{n} bad of {} in {:?}, events {ev}, healed max {}", ran.len(), t.elapsed(), ran.iter().map(|r| r.outcome.healed_us).max().unwrap());
}
