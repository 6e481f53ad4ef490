//! The layers, put over each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::compat::{self, Note};
use super::error::{ConfigError, ConfigErrors, sentence};
use super::yaml::{self, LeafValue};
use super::{Config, validate};

/// Names the settings file, when no flag does.
const FILE_VARIABLE: &str = "TIDEGATE_CONFIG";

/// What our own environment variables begin with.
const PREFIX: &str = "TIDEGATE_";

/// The one name of ours without a separator, as it is for trying out and typed by hand.
const ALLOW_UNAUTHENTICATED: (&str, &str) = ("TIDEGATE_ALLOW_UNAUTHENTICATED", "http.allow_unauthenticated");

/// Separates the levels of a field in the name of an environment variable.
const SEPARATOR: &str = "__";

/// Where settings are looked for.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The settings file; `None` takes the one that `TIDEGATE_CONFIG` names, if it does.
    pub file: Option<PathBuf>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Settings from the command line, over everything else.
    pub flags: Vec<Flag>,
}

impl LoadOptions {
    /// Looks at the environment of the process. Variables that are no UTF-8 are left out.
    #[must_use]
    pub fn from_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { env: std::env::vars_os().filter_map(text).collect(), ..Self::default() }
    }
}

/// A setting from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag as the user wrote it, `--grpc-address`.
    pub name: String,
    /// The field that it sets, `grpc.address`.
    pub field: String,
    /// The value, as in the environment.
    pub value: String,
}

impl Flag {
    /// A flag that sets a field.
    pub fn new(name: impl Into<String>, field: impl Into<String>, value: impl ToString) -> Self {
        Self { name: name.into(), field: field.into(), value: value.to_string() }
    }
}

/// Settings that are valid, and where they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where each value came from.
    pub sources: Sources,
    /// What to tell about the environment names of envoyproxy/ratelimit, once logs are set up.
    pub notes: Vec<Note>,
}

/// Where each value came from.
#[derive(Clone, Debug)]
pub struct Sources(Figment);

impl Sources {
    /// Where the value of a field came from: `FILE:LINE`, the environment variable's name, the flag, or `default`.
    #[must_use]
    pub fn of(&self, field: &str) -> &str {
        // A map may be written as one text, with its entries in it.
        let whole = || field.rsplit_once('.').map(|(map, _)| map).filter(|map| self.is_text(map));
        let metadata = self.0.find_metadata(field).or_else(|| self.0.find_metadata(whole()?));
        metadata.map_or("default", |metadata| metadata.name.as_ref())
    }

    fn is_text(&self, field: &str) -> bool {
        self.0.find_value(field).is_ok_and(|value| value.as_str().is_some())
    }
}

/// One value and where it was written; a layer is a list of them.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    pub(super) origin: String,
}

impl Setting {
    pub(super) fn text(field: &str, text: &str, origin: &str) -> Self {
        let path = field.split('.').map(str::to_owned).collect();
        Self { path, value: Value::from(text), origin: origin.to_owned() }
    }

    /// A section that is there, whatever else says what is in it.
    pub(super) fn section(field: &str, origin: &str) -> Self {
        Self { value: Value::from(Dict::new()), ..Self::text(field, "", origin) }
    }
}

impl Provider for &Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let mut value = self.value.clone();
        let mut dict = Dict::new();
        for (depth, key) in self.path.iter().enumerate().rev() {
            dict = Dict::from([(key.clone(), value)]);
            if depth > 0 {
                value = Value::from(std::mem::take(&mut dict));
            } else {
                break;
            }
        }
        Ok(Profile::Default.collect(dict))
    }
}

impl Config {
    /// Puts the layers over each other and checks the whole.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn load(options: &LoadOptions) -> Result<Loaded, ConfigErrors> {
        // An empty variable counts as one that is not set, as it mostly stems from a template with nothing to put in.
        let env = options.env.iter().filter(|(_, value)| !value.trim().is_empty());
        let env: BTreeMap<&str, &str> = env.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut errors = Vec::new();
        let mut settings = Vec::new();

        let file = options.file.clone().or_else(|| env.get(FILE_VARIABLE).map(PathBuf::from));
        if let Some(file) = file {
            match read_file(&file) {
                Ok(read) => settings.extend(read),
                Err(error) => errors.push(error),
            }
        }
        let below = layers(&settings);
        let current = |field: &str| below.find_value(field).ok().and_then(|value| value.into_string());
        let flags = options.flags.iter().map(|flag| Setting::text(&flag.field, &flag.value, &flag.name));
        let above: Vec<_> = own_variables(&env).chain(flags).collect();
        let given = |field: &str| settings.iter().chain(&above).any(|setting| setting.path.join(".") == field);
        let reference = compat::read(&env, current, given);
        settings.extend(reference.settings);
        errors.extend(reference.errors);
        settings.extend(above);

        let (config, figment) = extract(settings, &mut errors);
        let sources = Sources(figment);
        if let Some(config) = &config {
            let wrong = validate::validate(config).into_iter();
            errors.extend(wrong.map(|(field, message)| ConfigError::new(&*field, sources.of(&field), message)));
        }
        match config {
            Some(config) if errors.is_empty() => Ok(Loaded { config, sources, notes: reference.notes }),
            _ => Err(ConfigErrors(errors)),
        }
    }
}

fn layers(settings: &[Setting]) -> Figment {
    let defaults = Metadata::named("default");
    let figment = Figment::from(Named(Serialized::defaults(Config::default()), defaults));
    settings.iter().fold(figment, Figment::merge)
}

/// A provider under another name.
struct Named<P>(P, Metadata);

impl<P: Provider> Provider for Named<P> {
    fn metadata(&self) -> Metadata {
        self.1.clone()
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        self.0.data()
    }
}

/// Types the values. A mistake is noted and taken out, so that the next one is found too; the tree that remains is
/// there for the checks of the whole.
fn extract(mut settings: Vec<Setting>, errors: &mut Vec<ConfigError>) -> (Option<Config>, Figment) {
    loop {
        let figment = layers(&settings);
        let error = match figment.extract_lossy::<Config>() {
            Ok(config) => return (Some(config), figment),
            Err(error) => error,
        };
        let origin = error.metadata.as_ref().map_or("default", |metadata| metadata.name.as_ref());
        errors.push(ConfigError::new(error.path.join("."), origin, sentence(&error.kind)));
        let before = settings.len();
        settings.retain(|setting| !setting.path.iter().zip(&error.path).all(|(a, b)| a == b));
        if settings.len() == before {
            return (None, figment);
        }
    }
}

fn read_file(path: &std::path::Path) -> Result<Vec<Setting>, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new("", &name, format!("the settings file cannot be read: {error}")))?;
    let leaves = yaml::leaves(&text).map_err(|(line, message)| {
        let origin = line.map_or_else(|| name.clone(), |line| format!("{name}:{line}"));
        ConfigError::new("", origin, message)
    })?;
    let setting = |leaf: yaml::Leaf| {
        let value = match leaf.value {
            LeafValue::Text(text) => Value::from(text),
            LeafValue::List(items) => Value::from(items),
            LeafValue::EmptySection => Value::from(Dict::new()),
        };
        Setting { path: leaf.path, value, origin: format!("{name}:{}", leaf.line) }
    };
    Ok(leaves.into_iter().map(setting).collect())
}

/// `TIDEGATE_GRPC__ADDRESS` sets `grpc.address`. Names without a separator are not ours: Kubernetes makes
/// `TIDEGATE_PORT` and the like for a service named `tidegate`.
fn own_variables<'e>(env: &BTreeMap<&'e str, &'e str>) -> impl Iterator<Item = Setting> {
    env.iter().filter_map(|(name, value)| {
        let (alias, field) = ALLOW_UNAUTHENTICATED;
        if *name == alias {
            return Some(Setting::text(field, value, name));
        }
        let field = name.strip_prefix(PREFIX).filter(|field| field.contains(SEPARATOR))?;
        Some(Setting::text(&field.to_lowercase().replace(SEPARATOR, "."), value, name))
    })
}
