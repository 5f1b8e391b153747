//! Sessions beyond the usual one, recorded between the programs of the second release: a reconcile after a restore, what
//! was held back and confirmed, what was given back and refused, and several control planes among each other. Today's
//! data plane is led by them where that one was led, and all that data planes and followers said is read.

use model::{Id, Kind};
use tests::listener::{Listener, Objection};
use tests::released::{SECOND, same};
use wire::dp::Closed;
use wire::message::{Ack, Message, Mode};
use wire::{ByeReason, Hello, NackCode};

/// A listener that has what the data plane had after the first session.
fn settled() -> Listener {
    let mut today = Listener::new();
    today.hears(&SECOND.frozen("session-to-dp.bin"));
    today
}

/// The same after the reconcile.
fn reconciled() -> Listener {
    let mut today = settled();
    today.comes_back();
    today.hears(&SECOND.frozen("reconcile-to-dp.bin"));
    today
}

fn mode(today: &Listener) -> Mode {
    today.welcomes.last().expect("it was welcomed").mode
}

fn count(said: &[Message], is: impl Fn(&Message) -> bool) -> usize {
    said.iter().filter(|message| is(message)).count()
}

fn acks(said: &[Message]) -> Vec<(u64, u64)> {
    let ack = |message: &Message| {
        if let Message::Ack(Ack { applied, durable }) = message { Some((*applied, *durable)) } else { None }
    };
    said.iter().filter_map(ack).collect()
}

#[test]
fn a_released_reconcile_leads_today_where_it_led_then() {
    let then = SECOND.facts("reconciled.json");
    let mut today = settled();
    today.comes_back();
    today.hears(&SECOND.frozen("reconcile-to-dp.bin"));
    assert_eq!(mode(&today), Mode::Reconcile);
    assert_eq!(today.versions.last().copied(), then["version"].as_u64());
    same(&then["entities"], &today.shows());

    let said = SECOND.said("reconcile-to-cp.bin");
    let Some(Message::Hello(hello)) = said.first() else { panic!("{said:?}") };
    assert_eq!(hello.have.applied, 4);
    let symbols =
        said.iter().map(|message| if let Message::Symbols(symbols) = message { symbols.symbols.len() } else { 0 });
    assert!(symbols.sum::<usize>() >= 3, "{said:?}");
    let version = then["version"].as_u64().expect("a version");
    assert_eq!(acks(&said), [(version, version)]);
}

#[test]
fn what_was_held_back_and_confirmed_then_is_taken_today() {
    let mut today = reconciled();
    today.comes_back();
    today.objections.push_back(Objection::Held);
    let before = today.versions.len();
    today.hears(&SECOND.frozen("shrink-to-dp.bin"));
    assert!(today.objections.is_empty() && today.versions.len() == before + 1, "{:?}", today.versions);
    let shown = today.shows();
    assert_eq!(shown.values().map(|list| list.as_array().map_or(0, Vec::len)).sum::<usize>(), 1);
    assert_eq!(shown["consumers"][0]["username"], "alone");

    let said = SECOND.said("shrink-to-cp.bin");
    let held = said.iter().find_map(|message| if let Message::Nack(nack) = message { Some(nack) } else { None });
    let held = held.unwrap_or_else(|| panic!("{said:?}"));
    let shrink = held.shrink.expect("its numbers");
    assert_eq!((held.code, shrink.gone, shrink.of), (NackCode::Shrink, 16, 16), "{held:?}");
}

#[test]
fn what_was_given_back_and_refused_then_is_understood_today() {
    let mut today = reconciled();
    today.comes_back();
    let route: Id = "00000000-0000-4000-8000-000000000007".parse().expect("an id");
    today.objections.extend([Objection::GivenBack(Kind::Route, route), Objection::Refused]);
    let (before, pongs) = (today.versions.clone(), today.pongs.len());
    today.hears(&SECOND.frozen("given-back-to-dp.bin"));
    assert_eq!(mode(&today), Mode::Same);
    let last = before.last().copied().expect("a version");
    assert_eq!(today.versions[before.len()..], [last + 2], "one came twice, and one was refused");
    assert_eq!(today.pongs[pongs..].iter().map(|pong| pong.heartbeat_s).collect::<Vec<_>>(), [Some(600), None]);
    let shown = today.shows();
    let routes = shown["routes"].as_array().expect("a list");
    let paths = routes.iter().find(|route| route["name"] == "frozen").map(|route| &route["paths"]);
    assert_eq!(paths, Some(&serde_json::json!(["/mended"])));

    let said = SECOND.said("given-back-to-cp.bin");
    assert_eq!(count(&said, |message| matches!(message, Message::Want(want) if want.entities == [(2, route)])), 1);
    let codes: Vec<NackCode> = said
        .iter()
        .filter_map(|message| if let Message::Nack(nack) = message { Some(nack.code) } else { None })
        .collect();
    assert_eq!(codes, [NackCode::Base, NackCode::Invalid]);
    assert_eq!(acks(&said), [(last + 2, last), (last + 2, last + 2)]);
}

#[test]
fn a_node_that_was_sent_away_then_would_go_today() {
    let mut today = Listener::new();
    today.hears(&SECOND.frozen("moved-to-dp.bin"));
    let Some(Closed::Bye(bye)) = today.closed else { panic!("{:?}", today.closed) };
    assert_eq!(bye.reason, ByeReason::Moved);
    assert!(bye.to.starts_with("127.0.0.1:"), "{bye:?}");
    assert_eq!(today.versions, [1]);
    let said = SECOND.said("moved-to-cp.bin");
    assert!(matches!(said.first(), Some(Message::Hello(hello)) if hello.has(Hello::MOVED)), "{said:?}");
}

#[test]
fn a_released_follower_and_its_writer_are_understood() {
    let mut today = Listener::new();
    today.hears(&SECOND.frozen("follower-to-dp.bin"));
    assert_eq!(today.versions.last(), Some(&2));
    assert_eq!(today.shows()["consumers"].as_array().map(Vec::len), Some(2));
    let said = SECOND.said("follower-to-cp.bin");
    assert!(matches!(said.first(), Some(Message::Hello(hello)) if hello.has(Hello::FOLLOWER)), "{said:?}");
    let told =
        |said: &[Message]| count(said, |message| matches!(message, Message::Planes(planes) if !planes.is_empty()));
    assert!(told(&said) > 0 && told(&SECOND.said("follower-to-dp.bin")) > 0, "both told who serves how many");
}
