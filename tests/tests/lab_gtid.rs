//! GTID sets against the truth: a live MySQL's own functions, on generated sets with tags.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests")]

use std::sync::Arc;

use tasuki_schemas::gtid::mysql::GtidSet;
use tasuki_schemas::gtid::{Comparison, Flavour};
use tasuki_tests::lab::net::{Kind, Net};
use tasuki_tests::lab::run::Run;
use tasuki_tests::lab::server::{Extra, Server};
use tasuki_tests::lab::sql::Sql;
use tasuki_tests::lab::tools::Daemon;

const PAIRS: usize = 250;

/// A small generator of numbers: the same ones in every run, so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// A set in the server's syntax, in any order, with overlapping and touching intervals, capitals and blanks.
    fn set(&mut self) -> String {
        let sources = (0..self.below(4)).map(|_| {
            let uuid = format!("3E11FA47-71CA-11E1-9E33-C80AA942956{}", self.below(3));
            let uuid = if self.below(2) == 0 { uuid.to_lowercase() } else { uuid };
            let mut text = uuid;
            for _ in 0..=self.below(3) {
                if self.below(4) == 0 {
                    text += [":blue", ":Red", ":tag_7"][usize::try_from(self.below(3)).unwrap()];
                }
                for _ in 0..=self.below(3) {
                    let first = 1 + self.below(20);
                    let length = self.below(6);
                    text += &if length == 0 { format!(":{first}") } else { format!(":{first}-{}", first + length) };
                }
            }
            text
        });
        sources.collect::<Vec<_>>().join([",", ", "][usize::try_from(self.0 % 2).unwrap()])
    }
}

async fn ask(sql: &Sql, a: &str, b: &str) -> (bool, String) {
    let question = format!("SELECT GTID_SUBSET('{a}','{b}') AS subset, GTID_SUBTRACT('{a}','{b}') AS rest");
    let rows = sql.named(&question).await.unwrap();
    (rows[0]["subset"] == "1", rows[0]["rest"].clone())
}

#[tokio::test]
async fn lab_gtid_sets_agree_with_a_live_mysql() {
    let run = Run::begin(true).unwrap();
    let net = Arc::new(Net::build(&run, Kind::Loopback, &["db1".to_owned()]).unwrap());
    let daemon = Daemon::find(Flavour::Mysql).unwrap();
    let mut server = Server::create(&run, &net, "db1", 1, &daemon, &Extra::default()).unwrap();
    server.start().unwrap();
    server.ready().await.unwrap();
    let (sql, mut numbers) = (server.sql(), Numbers(0x7A5_0C1));
    let (mut subsets, mut rests) = (0, 0);
    for _ in 0..PAIRS {
        let (a, b) = (numbers.set(), numbers.set());
        let (subset, rest) = ask(&sql, &a, &b).await;
        let (ours, theirs) = (GtidSet::parse(&a).unwrap(), GtidSet::parse(&b).unwrap());
        assert_eq!(theirs.contains(&ours), subset, "GTID_SUBSET of {a:?} and {b:?}");
        let difference = ours.subtract(&theirs);
        assert_eq!(difference, GtidSet::parse(&rest).unwrap(), "GTID_SUBTRACT of {a:?} and {b:?}");
        // What we print, the server reads, and as the same set.
        let (printed, _) = ask(&sql, &a, &ours.to_string()).await;
        let (read_back, _) = ask(&sql, &ours.to_string(), &a).await;
        assert!(printed && read_back, "{a:?} is printed as {ours}");
        let union = ours.union(&theirs);
        let (both, _) = ask(&sql, &format!("{a},{b}"), &union.to_string()).await;
        assert!(both && union.contains(&ours) && union.contains(&theirs), "the union of {a:?} and {b:?} is {union}");
        let whole = tasuki_schemas::gtid::GtidSet::Mysql(ours).compare(&tasuki_schemas::gtid::GtidSet::Mysql(theirs));
        assert_eq!(matches!(whole, Comparison::Equal | Comparison::Subset), subset, "{a:?} and {b:?}");
        subsets += usize::from(subset);
        rests += usize::from(!rest.is_empty());
    }
    assert!(subsets > 20 && rests > 100, "the generator tells nothing: {subsets} subsets, {rests} differences");
}
