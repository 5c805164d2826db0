//! Requests between members: whole answers, readers that are slow or gone, and peers that break the rules.
#![cfg(feature = "runtime")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real nodes in real time")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::peer::{client, greet};
use common::{Node, PATIENCE, group, name, runtime, settle};
use ordu_transport::core::codec::{Kind, encode};
use ordu_transport::core::{Lane, NodeId};
use ordu_transport::tls::ALPN;
use ordu_transport::{
    CertificateAuthority, ClusterEvent, REQUEST_BYTES_MAX, REQUESTS_MAX, RESPONSE_WINDOW, Request, RequestError,
    Response,
};

fn ca() -> CertificateAuthority {
    CertificateAuthority::generate().expect("a CA")
}

/// Answers every request of a node in a task of its own.
fn answer<F: Future<Output = ()> + Send + 'static>(node: &Node, with: impl Fn(Request) -> F + Send + 'static) {
    let mut requests = node.cluster.requests();
    node.spawn(async move {
        while let Some(request) = requests.recv().await {
            tokio::spawn(with(request));
        }
    });
}

fn ask(node: &Node, to: &NodeId, body: &'static [u8]) -> Result<Response, RequestError> {
    node.block_on(node.cluster.request(to, "test", Bytes::from_static(body), PATIENCE))
}

/// All that comes, and how it ended.
fn read(node: &Node, response: &mut Response) -> (Vec<u8>, Option<RequestError>) {
    let mut all = Vec::new();
    node.block_on(async {
        loop {
            match response.next().await {
                Ok(Some(bytes)) => all.extend_from_slice(&bytes),
                Ok(None) => return (all, None),
                Err(error) => return (all, Some(error)),
            }
        }
    })
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[test]
fn an_answer_arrives_whole_and_ends_as_it_was_ended() {
    let nodes = group(&ca(), 2);
    let (one, other) = (&nodes[0], nodes[1].id());
    let asker = one.id();
    answer(&nodes[1], move |request| {
        assert_eq!((request.from(), request.topic()), (&asker, "test"));
        async move {
            match &request.body()[..] {
                b"no" => request.refuse(Bytes::from_static(b"because")).await,
                b"drop" => drop(request),
                b"break" => {
                    let mut responder = request.accept(Bytes::new()).await.expect("it waits");
                    responder.send(Bytes::from_static(b"half")).await.expect("it reads");
                    // The other side has read that before the end is taken back.
                    responder.gone().await;
                }
                len => {
                    let len: usize = std::str::from_utf8(len).expect("text").parse().expect("a number");
                    let mut responder = request.accept(Bytes::from_static(b"head")).await.expect("it waits");
                    responder.send(pattern(len).into()).await.expect("it reads");
                    responder.finish();
                }
            }
        }
    });
    for len in [&b"0"[..], b"1", b"65536", b"65537", b"3000000"] {
        let mut response = ask(one, &other, len).expect("an answer");
        assert_eq!(&response.head()[..], b"head");
        let (bytes, error) = read(one, &mut response);
        let len: usize = std::str::from_utf8(len).expect("text").parse().expect("a number");
        assert!(bytes == pattern(len) && error.is_none(), "{len}: {} bytes, {error:?}", bytes.len());
    }
    assert_eq!(ask(one, &other, b"no").unwrap_err(), RequestError::Refused(Bytes::from_static(b"because")));
    assert_eq!(ask(one, &other, b"drop").unwrap_err(), RequestError::Broken);
    let metrics = nodes[1].cluster.metrics();
    assert_eq!((metrics.requests_served, metrics.requests_refused), (5, 1));

    // Who answered goes away: that is no end of the answer.
    let mut response = ask(one, &other, b"break").expect("an answer");
    let first = one.block_on(response.next());
    assert_eq!(first, Ok(Some(Bytes::from_static(b"half"))));
    let mut nodes = nodes;
    nodes.pop().expect("the other").kill();
    let (rest, error) = read(&nodes[0], &mut response);
    assert_eq!((rest, error), (Vec::new(), Some(RequestError::Broken)));
}

#[test]
fn nobody_there_and_nobody_who_answers_are_told_apart() {
    let nodes = group(&ca(), 2);
    let other = nodes[1].id();
    let stranger = NodeId::new(name("n9"), 1, 1);
    assert_eq!(ask(&nodes[0], &stranger, b"").unwrap_err(), RequestError::NoSession);
    assert_eq!(ask(&nodes[0], &nodes[0].id(), b"").unwrap_err(), RequestError::NoSession);
    assert_eq!(ask(&nodes[0], &other, b"").unwrap_err(), RequestError::Unserved);
    drop(nodes[1].cluster.requests());
    assert_eq!(ask(&nodes[0], &other, b"").unwrap_err(), RequestError::Unserved);
    // Taken, and not looked at: those who wait are told so in time.
    let _requests = nodes[1].cluster.requests();
    let asked = nodes[0].cluster.request(&other, "test", Bytes::new(), Duration::from_millis(50));
    assert_eq!(nodes[0].block_on(asked).unwrap_err(), RequestError::Late);
}

/// As many answers as there may be, none of them read: each is held to its window, and the lanes do not notice.
#[test]
fn unread_answers_are_bounded_and_delay_no_lane() {
    let mut nodes = group(&ca(), 2);
    let (sent, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let (left, mut leaving) = tokio::sync::mpsc::unbounded_channel();
    answer(&nodes[1], move |request| {
        let (sent, left) = (sent.clone(), left.clone());
        async move {
            let mut responder = request.accept(Bytes::new()).await.expect("it waits");
            while responder.send(Bytes::from_static(&[7; 1024])).await.is_ok() {
                let _ = sent.send(1024);
            }
            let _ = left.send(());
        }
    });
    let other = nodes[1].id();
    let mut open: Vec<Response> = (0..REQUESTS_MAX).map(|_| ask(&nodes[0], &other, b"").expect("a place")).collect();
    assert_eq!(ask(&nodes[0], &other, b"").unwrap_err(), RequestError::Busy);
    let mut bytes = 0;
    nodes[1].block_on(async {
        while bytes < REQUESTS_MAX * RESPONSE_WINDOW {
            bytes += seen.recv().await.expect("they send");
        }
    });
    // Far more goes over the lanes than all windows together hold.
    let frame = Bytes::from(vec![1; 1 << 20]);
    let asker = nodes[0].id();
    for _ in 0..16 {
        nodes[1].cluster.send(&asker, Lane::Bulk, frame.clone());
        nodes[0].until_event(|event| matches!(event, ClusterEvent::Frame { .. }));
    }
    assert!(seen.try_recv().is_err(), "nothing is sent that nobody granted");
    // Whoever reads gets more.
    let first = open.first_mut().expect("one");
    let mut read = 0;
    nodes[0].block_on(async {
        while read < 4 * RESPONSE_WINDOW {
            read += first.next().await.expect("it goes on").expect("it does not end").len();
        }
    });
    // Whoever leaves is noticed, also by those that wait for grants, and leaves its place.
    drop(open);
    nodes[1].block_on(async {
        for _ in 0..REQUESTS_MAX {
            tokio::time::timeout(PATIENCE, leaving.recv()).await.expect("it is noticed").expect("it is told");
        }
    });
    for _ in 0..3 * REQUESTS_MAX {
        let mut response = ask(&nodes[0], &other, b"").expect("a place");
        assert!(nodes[0].block_on(response.next()).expect("it goes on").is_some());
    }
    settle(&mut nodes);
}

/// However few of those that are open have ended, as many as ended can be asked anew.
#[test]
fn each_request_that_ended_makes_room_for_one() {
    let mut nodes = group(&ca(), 2);
    answer(&nodes[1], |request| async move {
        let mut responder = request.accept(Bytes::new()).await.expect("it waits");
        responder.gone().await;
    });
    let other = nodes[1].id();
    let mut open: Vec<Response> = (0..REQUESTS_MAX).map(|_| ask(&nodes[0], &other, b"").expect("a place")).collect();
    for ended in [1, 1, 1, 2, 2, 3, 5, REQUESTS_MAX, 1] {
        open.truncate(REQUESTS_MAX - ended);
        open.extend((0..ended).map(|_| ask(&nodes[0], &other, b"").expect("a place again")));
    }
    drop(open);
    settle(&mut nodes);
}

/// What a member with a good certificate may send where a request is expected, and answer where one is asked.
#[test]
fn garbage_costs_a_stream_and_not_the_session() {
    let ca = ca();
    let mut nodes = group(&ca, 2);
    answer(&nodes[0], |request| async move { request.refuse(Bytes::new()).await });
    let own = ca.issue(&name("x")).expect("a certificate");
    let (addr, id) = (nodes[0].cluster.local_addr(), NodeId::new(name("x"), 1, 5));
    let runtime = runtime();
    let endpoint = runtime.block_on(async { client(Some(&own), &own, ALPN) });
    let (connection, _send) = runtime.block_on(greet(&endpoint, addr, &id)).expect("a good certificate");
    nodes[0].until(|node| node.cluster.is_connected(&id));
    let long = u32::try_from(REQUEST_BYTES_MAX + 1).expect("it fits").to_be_bytes();
    let body = encode(Kind::Request, &("logs", 5u8));
    let no_request = [&u32::try_from(body.len()).expect("short").to_be_bytes()[..], &body].concat();
    let hello = encode(Kind::Hello, &("logs", &b"web"[..]));
    let no_kind = [&u32::try_from(hello.len()).expect("short").to_be_bytes()[..], &hello].concat();
    let garbage: [&[u8]; 6] = [&long, &[0xff; 4], b"\0\0\0\0", b"\0\0\0\x05hello", &no_request, &no_kind];
    runtime.block_on(async {
        for bytes in garbage {
            let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
            send.write_all(bytes).await.expect("written");
            let answer = tokio::time::timeout(PATIENCE, recv.read_to_end(64)).await.expect("it is told");
            assert!(answer.is_err(), "{bytes:?} was answered");
        }
    });
    assert_eq!(nodes[0].cluster.metrics().requests_refused, garbage.len() as u64);
    // Now it is asked, and answers: nothing at all, garbage, an endless head, half an answer.
    let accepted = frame(&encode(Kind::Response, &Answer::Accepted(Vec::new())));
    type Check = fn(&RequestError) -> bool;
    let cases: [(&[u8], Check); 4] = [
        (b"", |error| *error == RequestError::Broken),
        (b"\0\0\0\x05hello", |error| matches!(error, RequestError::Malformed(_))),
        (&[0xff; 4], |error| matches!(error, RequestError::Malformed(_))),
        (&accepted, |error| *error == RequestError::Broken),
    ];
    for (bytes, is_right) in cases {
        let (bytes, peer, is_begun) = (bytes.to_vec(), connection.clone(), bytes == accepted);
        let liar = runtime.spawn(async move {
            let (mut send, mut recv) = peer.accept_bi().await.expect("it asks");
            // Whoever does not want more stops it.
            let _ = send.write_all(&bytes).await;
            recv.read_exact(&mut [0; 4]).await.expect("a request");
            match is_begun {
                true => drop(send.reset(0u32.into())),
                false => drop(send.finish()),
            }
        });
        let error = match ask(&nodes[0], &id, b"?") {
            Ok(mut response) => read(&nodes[0], &mut response).1.expect("no good end"),
            Err(error) => error,
        };
        assert!(is_right(&error), "{error:?}");
        runtime.block_on(liar).expect("it ends");
    }
    assert!(connection.close_reason().is_none(), "the session goes on");
    assert_eq!(nodes[0].cluster.metrics().protocol_errors, 0);
    settle(&mut nodes);
}

/// The head of an answer, as it is on the wire.
#[derive(serde::Serialize)]
enum Answer {
    Accepted(#[serde(with = "serde_bytes")] Vec<u8>),
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("short").to_be_bytes()[..], bytes].concat()
}
