//! What the tests and the demo share: a lab that starts real servers, nodes, coordinators, Redis and HAProxy, breaks
//! them, and checks what became of every acknowledged write.

pub mod bench;
pub mod demo;
pub mod faults;
pub mod lab;
pub mod rows;
pub mod sim;
