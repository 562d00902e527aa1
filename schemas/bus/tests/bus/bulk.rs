//! Bulk has connections of its own, under the same keys: links of the mesh do not notice it.

use std::time::Duration;

use tasuki_schemas::channel::Channel;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::world::{Cluster, assert_each_once, observation, program};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_comes_from_whom_the_keys_say_and_disturbs_no_link() {
    let cluster = Cluster::new(&["c1", "n1", "n2"], Vec::new(), true);
    let (mut c1, mut n1, n2) = (cluster.start("c1"), cluster.start("n1"), cluster.start("n2"));
    c1.await_carriers(0, 2).await;
    n1.await_carriers(0, 2).await;
    let mut asked = n1.bus.take_bulk().unwrap();
    assert!(n1.bus.take_bulk().is_none(), "one serves it");
    let mut near = n2.bus.dialler().dial(&program("n1")).await.unwrap();
    near.write_all(b"ask").await.unwrap();
    near.flush().await.unwrap();
    let (peer, mut far) = timeout(Duration::from_secs(5), asked.recv()).await.unwrap().unwrap();
    assert_eq!(peer, program("n2"));
    let mut heard = [0; 3];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ask");
    // Nobody reads what is sent now; messages pass it.
    let flood = tokio::spawn(async move { while far.write_all(&[7; 65536]).await.is_ok() {} });
    for number in 0..20 {
        n1.bus.publish(&Channel::Health, &observation("n1", number)).unwrap();
    }
    assert_each_once(&c1.numbers(Duration::from_millis(500)).await, 20);
    assert!(n1.bus.carriers().mesh.values().all(|lives| *lives), "the links are the same as before");
    flood.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_is_not_taken_from_or_by_others() {
    let mut cluster = Cluster::new(&["n1", "n2", "n3"], Vec::new(), true);
    let _n1 = cluster.start("n1");
    // Where n3 should be, n1 answers.
    let address = cluster.addresses[&program("n1")];
    cluster.addresses.insert(program("n3"), address);
    let n2 = cluster.start("n2");
    let nowhere = n2.bus.dialler().dial(&program("n9")).await;
    assert_eq!(nowhere.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let wrong = n2.bus.dialler().dial(&program("n3")).await;
    assert_eq!(wrong.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
}
