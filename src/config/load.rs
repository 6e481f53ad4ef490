//! The layers, put over each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::compat::{self, Note};
use super::error::{ConfigError, ConfigErrors, sentence};
use super::{Config, field, validate, yaml};

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
pub struct Sources {
    figment: Figment,
    /// Everything, the layers put over each other.
    tree: Value,
    items: Items,
}

impl Sources {
    fn new(figment: Figment, items: Items) -> Self {
        let tree = figment.find_value("").unwrap_or_else(|_| Value::from(Dict::new()));
        Self { figment, tree, items }
    }

    /// Where the value of a field came from: `FILE:LINE`, the environment variable's name, the flag, or `default`. Of an
    /// item of a list, `routes[2].hits`, it is the item's own line.
    #[must_use]
    pub fn of(&self, field: &str) -> &str {
        let steps = field::steps(field);
        let mut value = &self.tree;
        for step in &steps {
            match value {
                Value::Dict(_, entries) => match entries.get(step) {
                    Some(below) => value = below,
                    None => return "default",
                },
                _ => break,
            }
        }
        let origin = self.figment.get_metadata(value.tag()).map_or("default", |metadata| metadata.name.as_ref());
        self.items.origin(&steps, origin)
    }
}

/// Where the items of the lists in the settings file were written.
#[derive(Clone, Debug, Default)]
struct Items {
    file: String,
    /// By the steps that lead there, `FILE:LINE`.
    origins: BTreeMap<Vec<String>, String>,
}

impl Items {
    /// A better origin than that of the whole list, if the list is the file's.
    fn origin<'s>(&'s self, steps: &[String], list: &'s str) -> &'s str {
        if list.rsplit_once(':').is_none_or(|(file, _)| file != self.file) {
            return list;
        }
        let found = (1..=steps.len()).rev().find_map(|length| self.origins.get(steps.get(..length)?));
        found.map_or(list, String::as_str)
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
        let mut items = Items::default();

        let file = options.file.clone().or_else(|| env.get(FILE_VARIABLE).map(PathBuf::from));
        if let Some(file) = file {
            match read_file(&file) {
                Ok(read) => (settings, items) = read,
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

        let typed = errors.len();
        let (config, figment) = extract(settings, &items, &mut errors);
        let sources = Sources::new(figment, items);
        if let Some(config) = &config {
            // Where something had to be taken out of lists and maps that refer to each other, more would be said of
            // them than is so.
            let partly = errors.iter().skip(typed).any(|error| error.field.starts_with("ext_authz."));
            let wrong = validate::validate(config).into_iter();
            let wrong = wrong.filter(|(field, _)| !partly || !field.starts_with("ext_authz."));
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

/// The most mistakes told of the types of values.
const MAX_MISTAKES: usize = 100;

/// Types the values. A mistake is noted and taken out, so that the next one is found too; the tree that remains is
/// there for the checks of the whole.
fn extract(mut settings: Vec<Setting>, items: &Items, errors: &mut Vec<ConfigError>) -> (Option<Config>, Figment) {
    loop {
        let figment = layers(&settings);
        let error = match figment.extract_lossy::<Config>() {
            Ok(config) => return (Some(config), figment),
            Err(error) => error,
        };
        let origin = error.metadata.as_ref().map_or("default", |metadata| metadata.name.as_ref());
        let tree = figment.find_value("").unwrap_or_else(|_| Value::from(Dict::new()));
        let name = field::name(&error.path, &tree);
        errors.push(ConfigError::new(name, items.origin(&error.path, origin), sentence(&error.kind)));
        if errors.len() >= MAX_MISTAKES || !take_out(&mut settings, &error.path) {
            return (None, figment);
        }
    }
}

/// Takes what is wrong out of every layer; whether there was anything.
fn take_out(settings: &mut Vec<Setting>, steps: &[String]) -> bool {
    let mut taken = false;
    settings.retain_mut(|setting| {
        if !setting.path.iter().zip(steps).all(|(a, b)| a == b) {
            return true;
        }
        taken = true;
        let rest = steps.get(setting.path.len()..).unwrap_or_default();
        field::take_out(&mut setting.value, rest)
    });
    taken
}

fn read_file(path: &std::path::Path) -> Result<(Vec<Setting>, Items), ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new("", &name, format!("the settings file cannot be read: {error}")))?;
    let read = yaml::leaves(&text).map_err(|(line, message)| {
        let origin = line.map_or_else(|| name.clone(), |line| format!("{name}:{line}"));
        ConfigError::new("", origin, message)
    })?;
    let setting = |leaf: yaml::Leaf| {
        let origin = format!("{name}:{}", leaf.line);
        Setting { path: leaf.path, value: leaf.value, origin }
    };
    let settings = read.leaves.into_iter().map(setting).collect();
    let origins = read.items.into_iter().map(|(steps, line)| (steps, format!("{name}:{line}"))).collect();
    Ok((settings, Items { file: name, origins }))
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
