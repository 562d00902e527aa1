use super::*;

/// A data directory with old data, and a whole copy in the workshop.
struct Ground(PathBuf, Places);

impl Ground {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("tasuki-places-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        fs::create_dir_all(root.join("mysql")).unwrap();
        fs::write(root.join("mysql/what"), "old").unwrap();
        let places = Places::beside(&root.join("mysql"), 7).unwrap();
        places.prepare().unwrap();
        fs::create_dir(&places.fresh).unwrap();
        fs::write(places.fresh.join("what"), "new").unwrap();
        Self(root, places)
    }

    fn what(&self, folder: &Path) -> String {
        fs::read_to_string(folder.join("what")).unwrap_or_default()
    }

    /// What the server would start on, and what is kept.
    fn both(&self) -> (String, String) {
        (self.what(&self.1.data), self.what(&self.1.aside))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_copy_that_is_not_whole_never_takes_the_place() {
    let ground = Ground::new("half");
    assert_eq!(ground.1.change().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!ground.1.have_changed());
    ground.1.clear().unwrap();
    assert_eq!(ground.both(), ("old".to_owned(), String::new()));
    assert!(!ground.1.workshop.exists());
}

#[test]
fn the_copy_takes_the_place_and_the_old_data_is_kept_aside_however_often_that_is_done() {
    let ground = Ground::new("whole");
    ground.1.complete().unwrap();
    for _ in 0..2 {
        ground.1.change().unwrap();
        assert_eq!(ground.both(), ("new".to_owned(), "old".to_owned()));
    }
    assert!(ground.1.have_changed());
    ground.1.settle().unwrap();
    assert!(!ground.1.have_changed() && !ground.1.workshop.exists());
    assert_eq!(ground.both(), ("new".to_owned(), "old".to_owned()));
}

/// A node that died between any two steps finds either the old data or the whole copy in place after it looked.
#[test]
fn what_was_cut_short_is_finished_or_undone() {
    type Cut = fn(&Places);
    let cuts: [Cut; 4] = [
        |_| {},
        // In one step, and not put aside yet.
        |places| renameat_with(CWD, &places.data, CWD, &places.fresh, RenameFlags::EXCHANGE).unwrap(),
        // In two steps, of which one was done.
        |places| fs::rename(&places.data, &places.aside).unwrap(),
        |places| places.change().unwrap(),
    ];
    for (number, cut) in cuts.iter().enumerate() {
        let ground = Ground::new(&format!("finish-{number}"));
        ground.1.complete().unwrap();
        cut(&ground.1);
        assert_eq!(ground.1.have_changed(), number > 0);
        ground.1.change().unwrap();
        assert_eq!(ground.both(), ("new".to_owned(), "old".to_owned()), "{number}");

        let ground = Ground::new(&format!("undo-{number}"));
        ground.1.complete().unwrap();
        cut(&ground.1);
        ground.1.change_back().unwrap();
        assert_eq!(ground.both(), ("old".to_owned(), String::new()), "{number}");
        assert!(!ground.1.workshop.exists() && !ground.1.have_changed());
    }
}

#[test]
fn old_data_on_its_way_aside_is_not_taken_for_a_copy_of_no_use() {
    let ground = Ground::new("way");
    ground.1.complete().unwrap();
    renameat_with(CWD, &ground.1.data, CWD, &ground.1.fresh, RenameFlags::EXCHANGE).unwrap();
    assert_eq!(ground.1.clear().unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(ground.what(&ground.1.fresh), "old");
}
