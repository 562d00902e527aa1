use std::time::Instant;

use super::*;

const ADDRESS: &str = "10.0.0.1:3306";

fn hook(command: &str, read_back: Option<&str>) -> Shutdown {
    let words = |script: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned(), "hook".to_owned()];
    Shutdown { command: words(command), read_back: read_back.map(words), limit: Duration::from_secs(5) }
}

async fn shut(command: &str, read_back: Option<&str>) -> Fenced {
    shut_down(&hook(command, read_back), ADDRESS.parse().unwrap()).await
}

#[tokio::test]
async fn an_exit_code_is_trusted_only_without_a_read_back() {
    assert_eq!(shut("exit 0", None).await, Ok(()));
    assert_eq!(shut("exit 10", None).await, Ok(()));
    let refused = shut("echo no power; exit 3", None).await.unwrap_err();
    assert!(refused.contains("no power") && refused.contains('3'), "{refused}");
    let never = shut("exit 0", Some("exit 1"));
    assert!(timeout(Duration::from_secs(1), never).await.is_err(), "it must be read back");
}

#[tokio::test]
async fn both_are_told_about_the_server_and_the_read_back_is_asked_until_it_says_so() {
    let file = std::env::temp_dir().join(format!("tasuki-hook-{}", std::process::id()));
    let path = file.display();
    let read_back = format!("echo \"$*\" >> {path}; [ $(wc -l < {path}) = 3 ]");
    assert_eq!(shut(&format!("echo \"$*\" > {path}"), Some(&read_back)).await, Ok(()));
    let told = |act: &str| format!("--command={act} --host=10.0.0.1 --ip=10.0.0.1 --port=3306\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), told("stop") + &told("status") + &told("status"));
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn what_hangs_is_killed_with_all_it_started() {
    let file = std::env::temp_dir().join(format!("tasuki-hung-{}", std::process::id()));
    let hung = format!("sleep 600 & echo $! > {}; wait", file.display());
    assert!(timeout(Duration::from_secs(1), shut(&hung, None)).await.is_err());
    let child = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    let began = Instant::now();
    let runs = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while runs() {
        assert!(began.elapsed() < Duration::from_secs(5), "{child} runs on");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_flood_of_output_holds_nothing_up() {
    assert_eq!(shut("head -c 3000000 /dev/zero", None).await, Ok(()));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let hook = Shutdown { command: vec!["/nowhere/off".to_owned()], ..hook("", None) };
    let refused = shut_down(&hook, ADDRESS.parse().unwrap()).await.unwrap_err();
    assert!(refused.starts_with("/nowhere/off: "), "{refused}");
}
