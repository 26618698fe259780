//! Message sockets whose peer dies.

use manyhands_sys::socket::MessageSocket;

#[test]
fn the_last_words_of_a_peer_that_died_with_unread_messages_are_heard() {
    let (ours, theirs) = MessageSocket::pair().expect("a pair");
    ours.send(b"never read", &[]).expect("sent");
    theirs.send(b"last words", &[]).expect("sent");
    drop(theirs);
    let heard = ours.receive().expect("a closed peer is no error").expect("it said something");
    assert_eq!(heard.bytes, b"last words");
    assert!(ours.receive().expect("a closed peer is no error").is_none());
    assert!(ours.try_receive().expect("a closed peer is no error").is_none());
}
