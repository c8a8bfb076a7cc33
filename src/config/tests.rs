//! Settings as users write them, from files in a folder of their own.

mod files;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use super::load::read;
use super::*;
use crate::core::event::EventType;
use crate::core::gate::Gate;
use crate::core::status::OsType;
use crate::environment::Environment;

const SCOPE: &str = "[[scope]]\nname = \"prod\"\nregion = \"cn-hangzhou\"\n";
const EXAMPLE: &str = include_str!("../../config/example.toml");

#[test]
fn defaults_need_nothing_but_a_scope() {
    let settings = Folder::new().load(SCOPE).unwrap();
    assert_eq!(settings.store.folder, PathBuf::from("/var/lib/readygate"));
    assert_eq!(
        settings.freshness,
        Freshness {
            window: Duration::from_secs(120),
            grace: Duration::from_secs(15),
            recover_heartbeats: 2,
        }
    );
    assert_eq!(
        settings.poll,
        PollSettings {
            pending: Duration::from_secs(5),
            ready_deadline: Duration::from_mins(15),
            absent_after: Duration::from_mins(10),
            timeout: Duration::from_secs(10),
            calls_in_flight: 4,
        }
    );
    assert_eq!(settings.scopes[0].calls_per_minute, 300);
    assert_eq!(
        settings.delivery,
        DeliverySettings {
            in_flight_per_receiver: 8,
            in_flight: 64,
            max_age: Duration::from_hours(24),
        }
    );
    assert_eq!(settings.shutdown_grace, Duration::from_secs(20));
    assert_eq!(settings.log.level, "info");
    assert_eq!(settings.log.format, LogFormat::Auto);
    assert_eq!(settings.credentials_config_file, None);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let folder = Folder::new();
    folder.write("ids.txt", "i-a\n");
    let problems = folder.problems(
        r#"
[poll]
pendng = "5s"
timeout = "ten seconds"

[[scope]]
name = "prod"
region = "cn-hangzhou"

[[scope]]
name = "prod"
region = "cn-beijing"

[[watch]]
scope = "prod"
instances = ["i-a"]
file = "ids.txt"

[[receiver]]
name = "on-call"
kind = "webhook"
url = "https://hooks.example.com/"
secret = "file:missing-secret"
"#,
    );
    insta::assert_snapshot!(problems);
}

#[test]
fn every_kind_of_mistake_says_what_to_do() {
    let folder = Folder::new();
    folder.write("ids.txt", "i-a\nnonsense\n");
    folder.write("empty", "\n");
    let open = folder.write("open-secret", "whsec_abc");
    fs::set_permissions(open, fs::Permissions::from_mode(0o644)).unwrap();
    insta::assert_snapshot!(folder.problems(include_str!("testdata/mistakes.toml")));
}

#[test]
fn a_secret_written_into_settings_is_refused_and_never_shown() {
    let folder = Folder::new();
    for line in [
        "secret = \"whsec_verysecret\"",
        "secret = \"hunter:verysecret\"",
        "secret = whsec_verysecret",
        "secret = \"whsec_verysecret",
        "secret = [\"whsec_verysecret\"]",
        "url = \"https://user:verysecret@hooks.example.com/\"",
        "url = \"verysecret\"",
    ] {
        let text = format!("{SCOPE}[[receiver]]\nname = \"a\"\nkind = \"webhook\"\n{line}\n");
        let shown = folder.problems(&text);
        assert!(!shown.contains("verysecret"), "{line}: {shown}");
        assert!(shown.contains("readygate.toml:7"), "{line}: {shown}");
    }
}

#[test]
fn secrets_come_from_files_variables_and_credentials() {
    let folder = Folder::new();
    folder.write("secret", "from-file\r\n");
    folder.write("credentials/hook", "from-credential");
    let credentials = folder.path("credentials");
    let environment = Environment::from([
        ("HOOK_SECRET", " from-variable "),
        ("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap()),
    ]);
    for (reference, expected) in [
        ("file:secret", "from-file"),
        ("env:HOOK_SECRET", "from-variable"),
        ("credential:hook", "from-credential"),
    ] {
        let text = webhook(&format!("secret = \"{reference}\""));
        let file = folder.write("readygate.toml", &text);
        let settings = Settings::load(Some(&file), &environment, &Overrides::default()).unwrap();
        let ReceiverKind::Webhook {
            secret: Some(secret),
            ..
        } = &settings.receivers[0].kind
        else {
            panic!("no secret by {reference}");
        };
        assert_eq!(secret.expose_secret(), expected);
        assert!(!format!("{settings:?}").contains(expected), "{settings:?}");
    }
    for reference in ["env:NOT_SET", "credential:missing", "credential:../hook"] {
        let text = webhook(&format!("secret = \"{reference}\""));
        assert!(folder.problems(&text).contains("receiver[0].secret"));
    }
}

#[test]
fn debug_shows_no_path_and_no_query_of_a_url() {
    let settings = Folder::new().load(&webhook("")).unwrap();
    let shown = format!("{settings:?}");
    assert!(shown.contains("https://hooks.example.com"), "{shown}");
    assert!(!shown.contains("t0ken"), "{shown}");
}

#[test]
fn receivers_are_told_everything_but_late_unless_they_say() {
    let folder = Folder::new();
    let events = |line: &str| {
        folder.load(&webhook(line)).unwrap().receivers[0]
            .events
            .clone()
    };
    let default = events("");
    assert!(!default.contains(&EventType::Late));
    assert_eq!(default.len(), EventType::ALL.len() - 1);
    assert_eq!(
        events("events = [\"instance.late\", \"instance.gone\"]"),
        BTreeSet::from([EventType::Late, EventType::Gone])
    );
}

#[test]
fn a_watch_takes_its_ids_from_a_file_beside_the_settings() {
    let folder = Folder::new();
    folder.write("ids.txt", "\u{feff}i-a\r\n# more\r\n\r\nmi-b\r\ni-a\r\n");
    let settings = folder
        .load(&format!(
            "{SCOPE}[[watch]]\nscope = \"prod\"\nfile = \"ids.txt\"\nready_deadline = \"30m\"\n\
             labels = {{ app = \"api\" }}\n\
             gate = {{ idle = true, session_manager = true, os_type = \"linux\" }}\n"
        ))
        .unwrap();
    let watch = &settings.watches[0];
    assert_eq!(format!("{:?}", watch.instances), "[i-a, mi-b]");
    assert_eq!(watch.ready_deadline, Duration::from_mins(30));
    assert_eq!(watch.labels["app"], "api");
    let gate = Gate {
        session_manager: true,
        idle: true,
        os_type: Some(OsType::Linux),
    };
    assert_eq!(watch.gate, gate);
}

#[test]
fn watches_that_agree_fold_and_watches_that_differ_are_told() {
    let watch = |ids: &str, more: &str| {
        format!("[[watch]]\nscope = \"prod\"\ninstances = [{ids}]\n{more}\n")
    };
    let folder = Folder::new();
    let same = format!(
        "{SCOPE}{}{}{}",
        watch("\"i-a\", \"i-b\"", ""),
        watch("\"i-b\", \"i-c\", \"i-c\"", "ready_deadline = \"15m\""),
        watch("\"i-a\"", ""),
    );
    let settings = folder.load(&same).unwrap();
    let ids: Vec<_> = settings.watches.iter().map(|w| &w.instances).collect();
    assert_eq!(format!("{ids:?}"), "[[i-a, i-b], [i-c]]");

    let different = format!(
        "{SCOPE}{}{}",
        watch("\"i-a\", \"i-b\"", ""),
        watch("\"i-a\", \"i-b\"", "gate = { idle = true }"),
    );
    insta::assert_snapshot!(folder.problems(&different), @r"
    [folder]/readygate.toml:8: watch[1]: `i-a` and 1 more is also in watch[0] ([folder]/readygate.toml:4), with another gate, ready_deadline or labels; keep it in one of them, or make them agree
    ");
}

#[test]
fn variables_are_over_the_file_and_flags_are_over_variables() {
    let folder = Folder::new();
    let text = format!("{SCOPE}[store]\nfolder = \"state\"\n[poll]\npending = \"7s\"\n");
    let file = folder.write("readygate.toml", &text);
    let load = |environment: Environment, overrides: Overrides| {
        Settings::load(Some(&file), &environment, &overrides).unwrap()
    };
    let settings = load(Environment::default(), Overrides::default());
    assert_eq!(settings.store.folder, folder.path("state"));

    let variables = || {
        Environment::from([
            ("READYGATE_STORE__FOLDER", "from-variable"),
            ("READYGATE_POLL__PENDING", "8s"),
            ("READYGATE_FRESHNESS__RECOVER_HEARTBEATS", "3"),
            ("READYGATE_LOG__LEVEL", ""),
            (
                "READYGATE_SCOPE",
                "[{name = \"dev\", region = \"cn-beijing\", account = 1234567890123456}]",
            ),
            // What Kubernetes sets beside a service of this name is no setting.
            ("READYGATE_PORT", "tcp://10.0.0.1:80"),
            ("READYGATE_SERVICE_HOST", "10.0.0.1"),
        ])
    };
    let settings = load(variables(), Overrides::default());
    assert_eq!(settings.store.folder, PathBuf::from("from-variable"));
    assert_eq!(settings.poll.pending, Duration::from_secs(8));
    assert_eq!(settings.freshness.recover_heartbeats, 3);
    assert_eq!(settings.log.level, "info");
    assert_eq!(settings.scopes[0].name.as_str(), "dev");
    assert_eq!(
        settings.scopes[0].account.as_deref(),
        Some("1234567890123456")
    );

    let flags = Overrides::default().set("--state-folder", "store.folder", "from-flag");
    let settings = load(variables(), flags);
    assert_eq!(settings.store.folder, PathBuf::from("from-flag"));
    assert_eq!(settings.poll.pending, Duration::from_secs(8));
}

#[test]
fn problems_of_variables_and_flags_name_them() {
    let folder = Folder::new();
    let file = folder.write("readygate.toml", SCOPE);
    let environment = Environment::from([
        ("READYGATE_POLL__PENDNG", "5s"),
        ("READYGATE_POLL_TIMEOUT", "5s"),
        ("READYGATE_LOG", "debug"),
        ("READYGATE_DELIVERY__IN_FLIGHT", "many"),
    ]);
    let overrides = Overrides::default().set("--shutdown-grace", "shutdown.grace", "0s");
    let error = Settings::load(Some(&file), &environment, &overrides).unwrap_err();
    insta::assert_snapshot!(error);
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_one_problem() {
    let folder = Folder::new();
    let missing = folder.path("none.toml");
    let error = Settings::load(
        Some(&missing),
        &Environment::default(),
        &Overrides::default(),
    )
    .unwrap_err();
    assert_eq!(error.problems().len(), 1);
    insta::assert_snapshot!(folder.shown(&error), @"[folder]/none.toml: the settings file cannot be read: No such file or directory (os error 2); create it or name another");
    let problems = folder.problems("[store]\nfolder = \"/a\"\nfolder = \"/b\"\n");
    insta::assert_snapshot!(problems, @"[folder]/readygate.toml:3: is not TOML: duplicate key `folder` in table `store`; correct this line; nothing else of the file was read");
    let nothing = Settings::load(None, &Environment::default(), &Overrides::default()).unwrap_err();
    insta::assert_snapshot!(nothing, @"default: scope: there is none, so there is nobody to ask; add a [[scope]] with a name and a region");
}

#[test]
fn the_example_is_a_working_settings_file() {
    let folder = Folder::new();
    folder.write("webhook-secret", "whsec_abc");
    let text = EXAMPLE.replace("/etc/readygate/", "");
    let settings = folder.load(&text).unwrap();
    assert_eq!(settings.receivers.len(), 2);
    assert_eq!(settings.watches[0].instances.len(), 2);
}

#[test]
fn the_reference_shows_every_key_and_its_samples_are_valid() {
    let uncommented: String = layers::DEFAULTS
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(sample) if !sample.is_empty() && !sample.starts_with(' ') => sample,
            Some(_) => "",
            None => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let folder = Folder::new();
    folder.write("instances.txt", "i-0\n");
    folder.write("credentials/webhook-secret", "whsec_abc");
    let credentials = folder.path("credentials");
    let environment = Environment::from([("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())]);
    let file = folder.write("readygate.toml", &uncommented);
    let (settings, keys) = read(Some(&file), &environment, &Overrides::default());
    settings.unwrap();

    let lines = lines::Lines::of(&uncommented);
    for key in keys {
        let alone = ["scope", "watch", "receiver"].iter().find_map(|list| {
            let rest = key.strip_prefix(list)?;
            let items = (0..2).map(|index| format!("{list}[{index}]{rest}"));
            items.map(|item| lines.exact(&item)).find(Option::is_some)
        });
        let documented = alone.flatten().or_else(|| lines.exact(&key));
        assert!(documented.is_some(), "{key} is not in config/default.toml");
    }
}

/// A folder with a settings file and what it names; files are 0600.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<Settings, SettingsError> {
        let file = self.write("readygate.toml", text);
        Settings::load(Some(&file), &Environment::default(), &Overrides::default())
    }

    fn problems(&self, text: &str) -> String {
        self.shown(&self.load(text).unwrap_err())
    }

    fn shown(&self, error: &SettingsError) -> String {
        error
            .to_string()
            .replace(self.0.path().to_str().unwrap(), "[folder]")
    }
}

fn webhook(line: &str) -> String {
    format!(
        "{SCOPE}[[receiver]]\nname = \"hook\"\nkind = \"webhook\"\n\
         url = \"https://hooks.example.com/t0ken?a=t0ken\"\n{line}\n"
    )
}
