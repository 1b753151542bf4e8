//! A kind of log file in a folder of its own.

use super::*;
use log::LevelFilter;
use std::path::Path;

fn config(directory: &Path) -> Logging {
    Logging {
        directory: directory.to_owned(),
        rotate_every: Duration::from_secs(3600),
        keep_files: 3,
        max_file_size: 1000,
        debug: true,
        info: true,
        sample: LevelFilter::Off,
        paho: LevelFilter::Off,
        console: LevelFilter::Off,
    }
}

fn files(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| is_of_kind(name, "debug.log")).collect();
    names.sort();
    names
}

fn linked(directory: &Path) -> String {
    fs::read_link(directory.join("debug.log")).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_flood_rotates_early_stays_bounded_and_loses_none_of_the_newest_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, _) = RotatingFile::begin("debug.log", &config(folder.path()));

    for number in 0..2000 {
        file.write(&format!("line {number:06}\n"));
    }

    let names = files(folder.path());
    assert_eq!(names.len(), 3);
    assert_eq!(&linked(folder.path()), names.last().unwrap());
    let text: String = names.iter().map(|name| fs::read_to_string(folder.path().join(name)).unwrap()).collect();
    assert!(text.len() <= 3000);
    let first = 2000 - text.lines().count();
    assert!(first < 1850);
    assert!(text.lines().eq((first..2000).map(|number| format!("line {number:06}"))));
}

#[test]
fn an_old_file_gives_way_to_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, _) = RotatingFile::begin("debug.log", &config(folder.path()));
    let began = file.current.as_ref().unwrap().began;
    file.write("first\n");

    let next = file.tick(began + Duration::from_secs(3599));
    let before = files(folder.path()).len();
    file.tick(began + Duration::from_secs(3600));
    file.write("second\n");

    assert_eq!(next, began + Duration::from_secs(3600));
    assert_eq!((before, files(folder.path()).len()), (1, 2));
    assert_eq!(fs::read_to_string(folder.path().join("debug.log")).unwrap(), "second\n");
}

#[test]
fn a_young_file_of_a_former_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let young = Local::now() - Duration::from_secs(600);
    let name = young.format("debug.log.%Y-%m-%d_%H-%M-%S").to_string();
    fs::write(folder.path().join(&name), "before\n").unwrap();

    let (mut file, _) = RotatingFile::begin("debug.log", &config(folder.path()));
    file.write("after\n");
    let next = file.tick(Instant::now());

    assert_eq!(files(folder.path()), [name]);
    assert_eq!(fs::read_to_string(folder.path().join("debug.log")).unwrap(), "before\nafter\n");
    let left = next.saturating_duration_since(Instant::now());
    assert!(left < Duration::from_secs(3001) && left > Duration::from_secs(2900), "{left:?}");
}

#[test]
fn a_file_of_a_former_run_that_cannot_be_written_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let name = Local::now().format("debug.log.%Y-%m-%d_%H-%M-%S").to_string();
    // A folder cannot be written to, not even by root.
    fs::create_dir(folder.path().join(&name)).unwrap();

    let (mut file, trouble) = RotatingFile::begin("debug.log", &config(folder.path()));
    file.write("line\n");

    assert!(trouble.is_none());
    assert_eq!(fs::read_to_string(folder.path().join("debug.log")).unwrap(), "line\n");
}

#[test]
fn files_of_former_runs_are_pruned_and_foreign_ones_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let former =
        ["debug.log.2023-01-04_11-28-49", "debug.log.2023-01-04_11-28-49.001", "debug.log.2023-01-04_12-28-49"];
    let foreign = ["debug.log.old", "info.log.2023-01-04_11-28-49", "debug.log.2023-01-04_11-28-4x", "notes.txt"];
    for name in former.iter().chain(&foreign) {
        fs::write(folder.path().join(name), name).unwrap();
    }

    let _ = RotatingFile::begin("debug.log", &config(folder.path()));

    assert_eq!(files(folder.path())[..2], former[1..]);
    assert_eq!(files(folder.path()).len(), 3);
    assert!(foreign.iter().all(|name| folder.path().join(name).exists()));
}

#[test]
fn a_file_in_the_place_of_the_link_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("debug.log"), "mine").unwrap();

    RotatingFile::begin("debug.log", &config(folder.path())).0.write("line\n");

    assert_eq!(fs::read_to_string(folder.path().join("debug.log")).unwrap(), "mine");
}

#[test]
fn a_folder_that_was_taken_away_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("log");
    let (mut file, _) = RotatingFile::begin("debug.log", &config(&directory));
    file.write("before\n");

    fs::remove_dir_all(&directory).unwrap();
    file.tick(Instant::now());
    file.write("after\n");

    assert_eq!(fs::read_to_string(directory.join("debug.log")).unwrap(), "after\n");
}

#[test]
fn a_folder_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("log");
    let (mut file, _) = RotatingFile::begin("debug.log", &config(&directory));

    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "a file where the folder was").unwrap();
    file.tick(Instant::now());
    (0..200).for_each(|_| file.write("0123456789\n"));
    let complained = file.complained;
    fs::remove_file(&directory).unwrap();
    file.write("works again\n");

    assert!(complained && !file.complained);
    assert_eq!(fs::read_to_string(directory.join("debug.log")).unwrap(), "works again\n");
}

#[test]
fn without_a_link_the_files_are_pruned_all_the_same_and_that_is_told_once() {
    for (obstacle, is_folder) in [("debug.log", false), ("debug.log", true), (".debug.log.new", true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(obstacle);
        if is_folder {
            fs::create_dir(&path).unwrap()
        } else {
            fs::write(&path, "mine").unwrap()
        }
        let (mut file, trouble) = RotatingFile::begin("debug.log", &config(folder.path()));

        (0..2000).for_each(|number| file.write(&format!("line {number:06}\n")));

        assert!(trouble.is_none());
        assert_eq!(files(folder.path()).len(), 3, "{obstacle}");
        assert!(matches!(file.troubles(), [one] if one.contains("no link")), "{:?}", file.troubles());
    }
}

#[test]
fn an_old_file_that_cannot_be_removed_keeps_no_other() {
    let folder = tempfile::tempdir().unwrap();
    // A folder is not removed as a file is, not even by root.
    fs::create_dir(folder.path().join("debug.log.2023-01-04_11-28-49")).unwrap();
    let (mut file, _) = RotatingFile::begin("debug.log", &config(folder.path()));

    (0..2000).for_each(|number| file.write(&format!("line {number:06}\n")));

    // Three of ours, and the folder.
    assert_eq!(files(folder.path()).len(), 4);
    assert!(matches!(file.troubles(), [one] if one.contains("cannot be removed")), "{:?}", file.troubles());
}

#[test]
fn a_dangling_link_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    symlink("nowhere", folder.path().join("debug.log")).unwrap();

    let (file, _) = RotatingFile::begin("debug.log", &config(folder.path()));

    assert_eq!([linked(folder.path())], files(folder.path())[..]);
    assert!(file.troubles().is_empty());
}

#[test]
fn a_file_that_was_replaced_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, _) = RotatingFile::begin("debug.log", &config(folder.path()));
    let path = folder.path().join(linked(folder.path()));
    fs::rename(&path, folder.path().join("kept")).unwrap();
    fs::write(&path, "another one").unwrap();

    file.tick(Instant::now());
    file.write("line\n");

    assert!(file.take_taken_away() && !file.take_taken_away());
    assert_eq!(fs::read_to_string(folder.path().join("debug.log")).unwrap(), "line\n");
}
