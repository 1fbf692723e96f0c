//! What strangers send: it costs them their connection and nobody else anything.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{deliveries, joined, nodes, soon, split};

/// Sends these bytes to a member's port and waits until the member closes the connection.
async fn closes_after(bytes: &[u8]) {
    let nodes = nodes(2).await;
    let mut members = split(joined(&nodes, "lobby").await);
    let mut stranger = TcpStream::connect(nodes[0].addr()).await.expect("connects");
    // The member may have closed before everything was written.
    let _ = stranger.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = soon("the connection is closed", stranger.read_to_end(&mut answer)).await;
    members[0].0.send("still here").await.expect("sends");
    let log = deliveries(&mut members[1].1, 1).await;
    assert_eq!(&log[0].payload[..], b"still here");
}

#[tokio::test]
async fn garbage_closes_the_connection() {
    closes_after(b"GET / HTTP/1.1\r\nhost: example\r\n\r\n").await;
}

#[tokio::test]
async fn an_oversized_frame_closes_the_connection() {
    closes_after(&[0x00, 0x20, 0x00, 0x00, 1, 2, 3]).await;
}

#[tokio::test]
async fn a_frame_that_is_not_a_request_closes_the_connection() {
    closes_after(&[0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff]).await;
}

#[tokio::test]
async fn a_frame_before_the_greeting_closes_the_connection() {
    // A well-formed request of kind "groups" with an empty list, id 1, deadline 1 s.
    let body = [&[0u8][..], &1u64.to_be_bytes(), &1000u32.to_be_bytes(), &[1, 0]].concat();
    closes_after(&[&(body.len() as u32).to_be_bytes()[..], &body].concat()).await;
}
