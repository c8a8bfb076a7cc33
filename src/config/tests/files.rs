//! Settings over several files.

use std::os::unix::fs::symlink;

use super::*;

const BASE: &str =
    "[poll]\npending = \"7s\"\n[[scope]]\nname = \"prod\"\nregion = \"cn-hangzhou\"\n";

fn watch(id: &str) -> String {
    format!("[[watch]]\nscope = \"prod\"\ninstances = [\"{id}\"]\n")
}

#[test]
fn lists_of_all_files_are_joined_and_later_values_win() {
    let folder = Folder::new();
    folder.write(
        "conf.d/20-web.toml",
        &format!("[poll]\npending = \"9s\"\n{}", watch("i-web")),
    );
    folder.write(
        "conf.d/10-api.toml",
        &format!(
            "[poll]\npending = \"8s\"\ntimeout = \"3s\"\n{}",
            watch("i-api")
        ),
    );
    let settings = folder.load(&format!("{BASE}{}", watch("i-first"))).unwrap();
    let ids: Vec<_> = settings.watches.iter().map(|w| &w.instances).collect();
    assert_eq!(format!("{ids:?}"), "[[i-first], [i-api], [i-web]]");
    assert_eq!(settings.poll.pending, Duration::from_secs(9));
    assert_eq!(settings.poll.timeout, Duration::from_secs(3));
}

#[test]
fn what_editors_and_package_managers_leave_behind_is_no_settings_file() {
    let folder = Folder::new();
    for name in [
        "a.toml~",
        ".a.toml",
        ".#a.toml",
        "a.toml.dpkg-old",
        "a.txt",
        "README",
    ] {
        folder.write(&format!("conf.d/{name}"), "this is no TOML");
    }
    folder.load(BASE).unwrap();
}

#[test]
fn problems_over_several_files_name_their_own_file_and_line() {
    let folder = Folder::new();
    folder.write(
        "conf.d/10-api.toml",
        "colour = \"red\"\n[poll]\npendng = \"5s\"\n[[scope]]\nname = \"prod\"\nregion = \"cn-beijing\"\n\
         [[watch]]\nscope = \"prd\"\ninstances = [\"i-a\"]\n",
    );
    folder.write(
        "conf.d/20-web.toml",
        "log = \"debug\"\ncolour = \"blue\"\nscope = [\"prod\"]\n\n[[watch]]\nscope = \"prod\"\n\
         file = \"missing.txt\"\n[poll]\npendng = \"6s\"\ntimeout = \"2h\"\n",
    );
    folder.write("conf.d/30-broken.toml", "[poll]\n\npending = \n");
    let problems = folder.problems(&format!("{BASE}[log]\nlevl = \"info\"\n"));
    insta::assert_snapshot!(problems);
}

#[test]
fn what_a_broken_file_may_hold_is_not_told_as_missing() {
    let folder = Folder::new();
    folder.write(
        "conf.d/web.toml",
        &format!("{}[delivery]\nin_flight = 4\n", watch("i-web")),
    );
    insta::assert_snapshot!(folder.problems("[[scope]\n"));
    folder.write(
        "conf.d/web.toml",
        &format!("{}[poll]\ntimeout = 5\n", watch("web")),
    );
    insta::assert_snapshot!(folder.problems("[[scope]\n"));
}

#[test]
fn a_conf_d_that_cannot_be_read_is_a_problem() {
    let folder = Folder::new();
    folder.write("conf.d", "");
    insta::assert_snapshot!(folder.problems(BASE));
    let folder = Folder::new();
    folder.write("conf.d/web.toml/a", "");
    symlink("nowhere", folder.path("conf.d/gone.toml")).unwrap();
    insta::assert_snapshot!(folder.problems(BASE));
}

#[test]
fn a_relative_path_starts_at_the_folder_of_its_own_file() {
    let folder = Folder::new();
    folder.write("conf.d/web.txt", "i-web\n");
    folder.write(
        "conf.d/web.toml",
        "[[watch]]\nscope = \"prod\"\nfile = \"web.txt\"\n",
    );
    assert_eq!(folder.load(BASE).unwrap().watches[0].instances.len(), 1);
}

#[test]
fn a_watch_takes_its_ids_from_every_file_of_a_folder() {
    let folder = Folder::new();
    folder.write("ids/b.txt", "i-b\ni-a\n");
    folder.write("ids/a.txt", "# api\ni-a\n");
    folder.write("ids/.c.txt", "no ID\n");
    folder.write("ids/a.txt~", "no ID\n");
    folder.write("ids/notes.md", "no ID\n");
    let text = format!("{BASE}[[watch]]\nscope = \"prod\"\nfile = \"ids\"\n");
    let settings = folder.load(&text).unwrap();
    assert_eq!(format!("{:?}", settings.watches[0].instances), "[i-a, i-b]");

    folder.write("ids/c.txt", "i-c\nC\n");
    folder.write("ids/d.txt/e", "");
    folder.write("ids/a.txt", "A\n");
    insta::assert_snapshot!(folder.problems(&text));
}
