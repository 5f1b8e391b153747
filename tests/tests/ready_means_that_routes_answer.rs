//! Kong says ready 0.8 to 3.5 seconds before its router knows the routes. Here, once `/status/ready` has said 200, no
//! synced route answers 404: neither after a first full sync nor after a restart.

use tests::generate::{Config, Rng, Shape};
use tests::http;
use tests::lab::{Daemon, Lab};
use tests::origin::Origin;
use tests::pair::{follower, load};
use tests::relay::Relay;
use tests::wait;

fn first_answers_after_ready(dp: &mut Daemon, config: &Config, seed: u64) {
    let (status, proxy) = (dp.address("status"), dp.address("proxy"));
    let mut rng = Rng(seed);
    let picks: Vec<usize> = (0..50).map(|_| rng.below(config.shape.routes)).collect();
    wait::until("ready", || (http::get(status, "/status/ready", &[]).ok()?.status == 200).then_some(()));
    for index in picks {
        let (host, path) = (config.route_host(index), config.request_path(index));
        let header = config.request_header(index);
        let mut headers = vec![("host", host.as_str())];
        headers.extend(header.as_ref().map(|(name, value)| (*name, value.as_str())));
        let answer = http::get(proxy, &path, &headers).expect("an answer");
        // 401: a route that wants a key. Anything but "no route".
        assert!(matches!(answer.status, 200 | 401), "route {index}: {} {}", answer.status, answer.text());
    }
}

#[test]
fn no_synced_route_answers_404_once_ready() {
    let lab = Lab::new();
    let origin = Origin::start("origin");
    let config = Config { shape: Shape::of(3_000), seed: 7, origin: origin.address() };
    let mut cp = lab.cp("cp").start();
    load(&lab, &mut cp, &config.declarative());
    let link = Relay::to(cp.address("cluster"));
    for round in 0..5 {
        let mut dp = follower(&lab, &format!("dp-{round}"), &link).start();
        first_answers_after_ready(&mut dp, &config, round);
        let mut again = dp.kill().start();
        first_answers_after_ready(&mut again, &config, round + 100);
    }
}
