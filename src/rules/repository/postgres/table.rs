//! The tables of records, and the statements that read and write them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use crate::rules::repository::record::Kind;

/// A table of records: what its statements are.
pub(super) struct Table {
    /// Of which kind.
    pub(super) kind: Kind,
    /// The columns that every record has, then those of its content, from which on [`CONTENT`] counts.
    pub(super) select: String,
    /// Changes records that differ, from arrays of columns.
    pub(super) update: String,
    /// Makes records that do not exist, from the same arrays.
    pub(super) insert: String,
    /// Deletes records, from arrays of keys.
    pub(super) delete: String,
    /// Which of an array of keys exist, by position from 1, and at which revision.
    pub(super) find: String,
    /// The first record that the constraints do not let in, and why, from the arrays of `insert`.
    pub(super) refused: String,
}

/// Where the content's columns begin in a row.
pub(super) const CONTENT: usize = 8;

/// A column's name and type.
type Column = (&'static str, &'static str);

const KEY: [Column; 2] = [("domain", "text"), ("path", "text")];

const RULE: [Column; 12] = [
    ("limits", "jsonb"),
    ("shadow_mode", "boolean"),
    ("quota_mode", "boolean"),
    ("detailed_metric", "boolean"),
    ("value_to_metric", "boolean"),
    ("share_threshold", "boolean"),
    ("protect", "boolean"),
    ("enabled", "boolean"),
    ("failure_mode", "text"),
    ("match_order", "bigint"),
    ("metadata", "jsonb"),
    ("tags", "text[]"),
];

const OVERRIDE: [Column; 2] = [("limits", "jsonb"), ("until", "timestamptz")];

const DOMAIN: [Column; 5] = [
    ("charge", "text"),
    ("default_algorithm", "text"),
    ("response_headers", "text[]"),
    ("accept_overrides", "boolean"),
    ("accept_refunds", "boolean"),
];

static RULES: LazyLock<Table> = LazyLock::new(|| Table::new(Kind::Rule, "rate_limit_rules", &KEY, &RULE));
static OVERRIDES: LazyLock<Table> =
    LazyLock::new(|| Table::new(Kind::Override, "rate_limit_overrides", &KEY, &OVERRIDE));
static DOMAINS: LazyLock<Table> = LazyLock::new(|| Table::new(Kind::Domain, "rate_limit_domains", &KEY[..1], &DOMAIN));

/// All tables, in the order of lists.
pub(super) fn tables() -> [&'static Table; 3] {
    [&DOMAINS, &RULES, &OVERRIDES]
}

/// The table of a kind.
pub(super) fn table(kind: Kind) -> &'static Table {
    match kind {
        Kind::Domain => &DOMAINS,
        Kind::Rule => &RULES,
        Kind::Override => &OVERRIDES,
    }
}

impl Table {
    fn new(kind: Kind, name: &str, key: &[Column], content: &[Column]) -> Self {
        let has_path = key.len() > 1;
        let list = |prefix: &str, columns: &[Column]| {
            columns.iter().map(|(name, _)| format!("{prefix}{name}")).collect::<Vec<_>>().join(", ")
        };
        // Lists in a column have no array that they could be in: arrays are rectangular.
        let carried = |kind| if kind == "text[]" { "jsonb" } else { kind };
        let arrays = |columns: &[Column]| {
            let mut arrays = String::new();
            for (number, (_, kind)) in (1..).zip(columns) {
                // Writing to a String cannot fail.
                let _ = write!(arrays, "{}${number}::{}[]", if number > 1 { ", " } else { "" }, carried(kind));
            }
            arrays
        };
        let all: Vec<Column> = key.iter().chain(content).copied().collect();
        let rows = format!("unnest({}) AS r({})", arrays(&all), list("", &all));
        let value = |name: &str, kind: &str| match kind {
            "text[]" => format!(
                "CASE WHEN r.{name} IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(r.{name})) END AS {name}"
            ),
            _ => format!("r.{name}"),
        };
        let values = all.iter().map(|(name, kind)| value(name, kind)).collect::<Vec<_>>().join(", ");
        let written = format!("(SELECT {values} FROM {rows}) AS s");
        let same = key.iter().map(|(name, _)| format!("t.{name} = s.{name}")).collect::<Vec<_>>().join(" AND ");
        let sets = content.iter().map(|(name, _)| format!("{name} = s.{name}")).collect::<Vec<_>>().join(", ");
        let gone = format!("unnest({}) AS s({})", arrays(key), list("", key));
        let numbered = format!("unnest({}) WITH ORDINALITY AS s({}, position)", arrays(key), list("", key));
        let (path, path_problem) =
            if has_path { ("s.path", "public.rate_limit_path_problem(s.path)") } else { ("''::text", "NULL::text") };
        let limits_problem = if has_path { "public.rate_limit_limits_problem(s.limits)" } else { "NULL::text" };
        Self {
            kind,
            select: format!(
                "SELECT domain, {} AS path, revision, deleted, created_at, created_by, updated_at, updated_by, {} \
                 FROM public.{name}",
                if has_path { "path" } else { "''::text" },
                list("", content)
            ),
            update: format!(
                "UPDATE public.{name} t SET {sets} FROM {written} WHERE {same} AND NOT t.deleted \
                 AND ({}) IS DISTINCT FROM ({})",
                list("t.", content),
                list("s.", content)
            ),
            insert: format!(
                "INSERT INTO public.{name} ({}) SELECT {} FROM {written} \
                 WHERE NOT EXISTS (SELECT FROM public.{name} t WHERE {same} AND NOT t.deleted)",
                list("", &all),
                list("s.", &all)
            ),
            delete: format!("UPDATE public.{name} t SET deleted = true FROM {gone} WHERE {same} AND NOT t.deleted"),
            find: format!(
                "SELECT s.position, t.revision FROM {numbered} JOIN public.{name} t ON {same} WHERE NOT t.deleted"
            ),
            refused: format!(
                "SELECT domain, path, problem FROM (SELECT s.domain, {path} AS path, \
                 coalesce({path_problem}, {limits_problem}) AS problem FROM {written}) p WHERE problem IS NOT NULL LIMIT 1"
            ),
        }
    }
}
