use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::rules::report::MAX_DIAGNOSTICS;

/// A directory with files of these names, each a domain of the same name.
fn directory(names: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        write(directory.path(), name);
    }
    directory
}

fn write(base: &Path, name: &str) {
    let path = base.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("domain: {name}\n")).unwrap();
}

fn domains(sources: &Sources) -> Vec<String> {
    let loaded = load(sources).unwrap_or_else(|report| panic!("{report}"));
    loaded.rules.domains().map(|domain| domain.name.to_string()).collect()
}

fn warnings(sources: &Sources) -> Vec<String> {
    load(sources).unwrap().warnings.into_iter().map(|warning| warning.message).collect()
}

fn errors(sources: &Sources) -> Vec<String> {
    load(sources).unwrap_err().diagnostics.into_iter().map(|error| error.message).collect()
}

#[test]
fn a_directory_is_read_in_order_at_any_depth() {
    let directory = directory(&["b.yaml", "a/z.yml", "a/c/d.json", "Z.YAML", "c.yaml"]);
    let sources = Sources::paths([directory.path()]);
    assert_eq!(domains(&sources), ["Z.YAML", "a/c/d.json", "a/z.yml", "b.yaml", "c.yaml"]);
    let loaded = load(&sources).unwrap();
    let origin = Origin { file: 3, line: 1, column: 1 };
    assert_eq!(loaded.file(origin), Some(&*directory.path().join("b.yaml")));
    assert_eq!(loaded.file(Origin { file: 5, ..origin }), None);
}

#[test]
fn sources_are_read_in_the_order_given() {
    let directory = directory(&["b.yaml", "a.yaml"]);
    let paths = ["b.yaml", "a.yaml"].map(|name| directory.path().join(name));
    assert_eq!(domains(&Sources::paths(paths)), ["b.yaml", "a.yaml"]);
}

#[test]
fn a_named_file_may_have_any_name() {
    let directory = directory(&["rules.conf"]);
    assert_eq!(domains(&Sources::paths([directory.path().join("rules.conf")])), ["rules.conf"]);
}

#[test]
fn stray_files_are_told_and_leftovers_are_not() {
    let directory = directory(&["a.yaml", "README.md", ".a.yaml.swp", "a.yaml~"]);
    let mut sources = Sources::paths([directory.path()]);
    assert_eq!(domains(&sources), ["a.yaml"]);
    assert_eq!(warnings(&sources), ["this is no rule file and was not read"]);
    sources.strict = true;
    assert_eq!(errors(&sources), ["this is no rule file and was not read"]);
}

#[test]
fn dot_files_are_rules_unless_ignored() {
    let directory = directory(&["a.yaml", ".b.yaml", ".git/c.yaml"]);
    let mut sources = Sources::paths([directory.path()]);
    assert_eq!(domains(&sources), [".b.yaml", ".git/c.yaml", "a.yaml"]);
    sources.ignore_dot_files = true;
    assert_eq!(domains(&sources), ["a.yaml"]);
}

#[test]
fn a_config_map_is_read_once() {
    let mount = directory(&["..2024_05_01_1/a.yaml"]);
    symlink("..2024_05_01_1", mount.path().join("..data")).unwrap();
    symlink("..data/a.yaml", mount.path().join("a.yaml")).unwrap();
    for ignore_dot_files in [false, true] {
        let sources = Sources { ignore_dot_files, ..Sources::paths([mount.path()]) };
        assert_eq!(domains(&sources), ["..2024_05_01_1/a.yaml"]);
        assert!(warnings(&sources).is_empty());
    }
}

#[test]
fn a_file_is_read_once_and_a_circle_of_links_ends() {
    let directory = directory(&["a.yaml", "below/b.yaml"]);
    symlink("a.yaml", directory.path().join("again.yaml")).unwrap();
    symlink("..", directory.path().join("below/circle")).unwrap();
    let sources = Sources::paths([directory.path()]);
    assert_eq!(domains(&sources), ["a.yaml", "below/b.yaml"]);
    assert_eq!(warnings(&sources), ["this file was read already"]);
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_name() {
    let directory = directory(&["a.yaml"]);
    symlink("nowhere", directory.path().join("b.yaml")).unwrap();
    let report = load(&Sources::paths([directory.path()])).unwrap_err();
    assert_eq!(report.diagnostics[0].file, name(&directory.path().join("b.yaml")));
    assert!(report.diagnostics[0].message.starts_with("cannot read it: "), "{report}");
    let missing = Sources::paths([directory.path().join("none")]);
    assert!(errors(&missing)[0].starts_with("cannot read it: "));
}

#[test]
fn no_rule_files_are_not_an_empty_set_of_rules() {
    let directory = directory(&[]);
    assert!(errors(&Sources::paths([directory.path()]))[0].starts_with("there are no rule files in "));
    assert!(load(&Sources::default()).is_err());
}

#[test]
fn every_file_s_mistakes_are_told_together() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| fs::write(directory.path().join(name), text).unwrap();
    write("a.yaml", b"domain: d\ndescriptors:\n  - kye: x\n");
    write("b.yaml", b"domain: [");
    write("c.yaml", b"domain: d\ndescriptors:\n  - key: k\n  - key: k\n    unit: x\n");
    write("d.yaml", b"domain: \xff\n");
    let report = load(&Sources::paths([directory.path()])).unwrap_err();
    let told = report.diagnostics.iter().map(|diagnostic| {
        let file = Path::new(&diagnostic.file).file_name().unwrap().to_str().unwrap();
        (file, diagnostic.line, diagnostic.severity)
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("a.yaml", 3, Severity::Error),
            ("b.yaml", 1, Severity::Error),
            ("c.yaml", 1, Severity::Error),
            ("c.yaml", 4, Severity::Error),
            ("c.yaml", 5, Severity::Warning),
            ("d.yaml", 1, Severity::Error),
        ]
    );
}

#[test]
fn reports_are_bounded_whatever_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("domain: d\ndescriptors:\n{}", "  - key: k\n".repeat(3 * MAX_DIAGNOSTICS));
    fs::write(directory.path().join("a.yaml"), text).unwrap();
    let report = load(&Sources::paths([directory.path()])).unwrap_err();
    assert_eq!(report.diagnostics.len(), MAX_DIAGNOSTICS);
    assert_eq!(report.errors(), 3 * MAX_DIAGNOSTICS - 1);
}

#[test]
fn too_large_a_file_is_refused_before_it_is_read() {
    let directory = directory(&[]);
    let path = directory.path().join("a.yaml");
    // Sparse: it takes no room on disk.
    fs::File::create(&path).unwrap().set_len(MAX_FILE_SIZE + 1).unwrap();
    assert_eq!(errors(&Sources::paths([path])), ["the file is larger than 64 MiB"]);
}

/// `RUNTIME_ROOT` with `current` pointing at `v1`.
fn runtime(files: &[&str]) -> (TempDir, RuntimeRoot) {
    let base = directory(files);
    symlink("v1", base.path().join("current")).unwrap();
    let root = RuntimeRoot {
        root: base.path().join("current"),
        subdirectory: "ratelimit".into(),
        app_directory: "config".into(),
        watch_root: true,
    };
    (base, root)
}

#[test]
fn a_runtime_root_has_its_rules_in_the_app_directory() {
    let (_base, root) =
        runtime(&["v1/ratelimit/config/b.yaml", "v1/ratelimit/config/a/c.yaml", "v1/ratelimit/other/d.yaml"]);
    for watch_root in [true, false] {
        let sources = Sources::runtime(RuntimeRoot { watch_root, ..root.clone() });
        assert_eq!(domains(&sources), ["v1/ratelimit/config/a/c.yaml", "v1/ratelimit/config/b.yaml"]);
    }
    let no_subdirectory = RuntimeRoot {
        root: root.root.join("ratelimit"),
        subdirectory: PathBuf::new(),
        app_directory: "other".into(),
        watch_root: true,
    };
    assert_eq!(domains(&Sources::runtime(no_subdirectory)), ["v1/ratelimit/other/d.yaml"]);
}

#[test]
fn a_watched_runtime_root_also_has_rules_beside_the_app_directory() {
    let files = ["v1/ratelimit/config/a.yaml", "v1/ratelimit/config.b.yaml", "v1/ratelimit/configs.yaml"];
    let (_base, root) = runtime(&files);
    assert_eq!(domains(&Sources::runtime(root.clone())), files[..2]);
    assert_eq!(domains(&Sources::runtime(RuntimeRoot { watch_root: false, ..root })), files[..1]);
}

#[test]
fn a_runtime_root_that_is_not_there_is_an_error() {
    let (_base, root) = runtime(&["v1/ratelimit/other/a.yaml"]);
    assert!(errors(&Sources::runtime(root))[0].starts_with("cannot read it: "));
}

#[test]
fn a_fingerprint_changes_with_the_files_and_only_then() {
    let directory = directory(&["a.yaml", "b.yaml"]);
    let sources = Sources::paths([directory.path()]);
    let look = || Listing::of(&sources).fingerprint;
    let first = look();
    assert_eq!(look(), first);
    let _ = load(&sources).unwrap();
    assert_eq!(look(), first, "reading is no change");
    fs::rename(directory.path().join("b.yaml"), directory.path().join("c.yaml")).unwrap();
    let renamed = look();
    assert_ne!(renamed, first);
    write(directory.path(), "d.yaml");
    assert_ne!(look(), renamed);
}

#[test]
fn of_a_linked_runtime_root_only_the_link_counts() {
    let (base, root) = runtime(&["v1/ratelimit/config/a.yaml", "v2/ratelimit/config/a.yaml"]);
    let of_link = Sources::runtime(root.clone());
    let of_files = Sources::runtime(RuntimeRoot { watch_root: false, ..root });
    let (link, files) = (Listing::of(&of_link), Listing::of(&of_files));
    write(base.path(), "v1/ratelimit/config/b.yaml");
    assert_eq!(Listing::of(&of_link).fingerprint, link.fingerprint);
    assert_ne!(Listing::of(&of_link).contents, link.contents, "a change while reading is still noticed");
    assert_ne!(Listing::of(&of_files).fingerprint, files.fingerprint);
    fs::remove_file(base.path().join("current")).unwrap();
    symlink("v2", base.path().join("current")).unwrap();
    assert_ne!(Listing::of(&of_link).fingerprint, link.fingerprint);
}

#[test]
fn a_text_is_a_file_of_its_own() {
    assert_eq!(load_text("name", "domain: d\n").unwrap().rules.domains().count(), 1);
    assert_eq!(load_text("name", "domain: [").unwrap_err().diagnostics[0].file, "name");
}
