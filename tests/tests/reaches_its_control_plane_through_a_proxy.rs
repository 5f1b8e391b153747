//! A data plane behind an HTTP proxy: every byte to its control plane goes through CONNECT, with the credentials of the
//! setting, which are told to the proxy and to nobody else; each way to be turned away has its own words.

use serde_json::{Value, json};
use tests::connect_proxy::{ConnectProxy, Manner};
use tests::lab::{Daemon, Lab};
use tests::pair::{apply, head, put};
use tests::relay::Relay;
use tests::wait;

/// `edge:open sesame!` as RFC 7617 wants it.
const AUTHORIZATION: &str = "Basic ZWRnZTpvcGVuIHNlc2FtZSE=";
const SECRETS: [&str; 4] = ["sesame", "open%20sesame", "ZWRnZTpvcGVu", "Basic "];

fn behind(lab: &Lab, proxy: &ConnectProxy, link: &Relay, credentials: &str) -> Daemon {
    lab.dp("dp")
        .with_text("cluster_control_plane", link.address())
        .with_text("cluster_use_proxy", "on")
        .with_text("proxy_server", format!("http://{credentials}{}", proxy.address()))
        .start()
}

fn change(cp: &mut Daemon, n: u64) -> u64 {
    apply(cp, &[put("services", json!({ "name": format!("s{n}"), "host": "example.com" }))])
}

fn keeps_the_secret(dp: &mut Daemon) {
    let status = dp.sync_status().to_string();
    let log = dp.log();
    for secret in SECRETS {
        assert!(!status.contains(secret) && !log.contains(secret), "{secret:?} is told in\n{status}\n{log}");
    }
}

#[test]
fn all_bytes_go_through_the_proxy_and_the_credentials_nowhere_else() {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").start();
    let link = Relay::to(cp.address("cluster"));
    let proxy = ConnectProxy::start(Manner::Closed(AUTHORIZATION.to_owned()));
    let mut dp = behind(&lab, &proxy, &link, "edge:open%20sesame!@");
    for n in 1..=3 {
        let version = change(&mut cp, n);
        dp.serves_version(version);
    }
    wait::until("all bytes to be counted on both sides", || (proxy.bytes() == link.bytes()).then_some(()));
    let (up, down) = link.bytes();
    assert!(up > 500 && down > 500, "{up} up, {down} down");
    assert_eq!(proxy.asked(), [format!("CONNECT {} HTTP/1.1", link.address())]);
    keeps_the_secret(&mut dp);
    // A tunnel that is cut is dug again.
    link.cut();
    let version = change(&mut cp, 4);
    dp.serves_version(version);
    assert!(proxy.asked().len() >= 2);
    keeps_the_secret(&mut dp);
}

#[test]
fn a_proxy_that_says_no_is_quoted_and_asked_again() {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").start();
    let link = Relay::to(cp.address("cluster"));
    let proxy = ConnectProxy::start(Manner::Answers("HTTP/1.1 403 Forbidden\r\n\r\n".to_owned()));
    let mut dp = behind(&lab, &proxy, &link, "");
    let mut told = |manner: Option<Manner>, words: &str| {
        if let Some(manner) = manner {
            proxy.behave(manner);
        }
        wait::until(words, || {
            let status = dp.sync_status();
            let told = |error: &Value| error.as_str().is_some_and(|error| error.contains(words));
            (told(&status["last_error"]) && told(&status["control_planes"][0]["last_error"])).then_some(())
        });
    };
    told(None, "forbids connections to 127.0.0.1");
    told(Some(Manner::Closed(AUTHORIZATION.to_owned())), "wants credentials: set them in proxy_server (407)");
    told(Some(Manner::Answers("HTTP/1.1 504 Too slow\r\n\r\n".to_owned())), "504 Too slow");
    told(Some(Manner::Answers("220 smtp.example.com ESMTP\r\n\r\n".to_owned())), "no status line");
    told(Some(Manner::Mute), "no answer within 15s");
    assert_eq!(link.bytes(), (0, 0), "nothing went past the proxy");
    proxy.behave(Manner::Open);
    let head = head(&mut cp);
    dp.serves_version(head);
}

#[test]
fn a_mistake_in_the_settings_is_told_before_anything_starts() {
    let lab = Lab::new();
    for (server, words) in [
        ("https://edge:open%20sesame!@proxy.example.com:3128", "https is not supported"),
        ("edge:open%20sesame!@proxy.example.com:3128", "is not a URL such as"),
    ] {
        let setup = lab.dp("wrong").with_text("cluster_use_proxy", "on").with_text("proxy_server", server);
        let (status, log) = setup.fails_to_start();
        assert_eq!(status.code(), Some(78));
        assert!(log.contains("proxy_server") && log.contains(words), "{log}");
        assert!(!log.contains("sesame"), "{log}");
    }
    let (_, log) = lab.dp("none").with_text("cluster_use_proxy", "on").fails_to_start();
    assert!(log.contains("cluster_use_proxy: needs proxy_server"), "{log}");
}
