//! What requests and answers look like, for the API's document. Records are the fields of their form beside what every
//! record has, so their schemas are put together of those.
#![allow(dead_code, reason = "these types are written about, not made")]

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder, Object};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::rules::form::{DomainForm, OverrideForm, RuleForm};

/// An entry of a descriptor.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryDocument {
    /// Its key; a `*` in it matches any text.
    #[schema(min_length = 1)]
    key: String,
    /// Its value; missing matches every value.
    value: Option<String>,
}

/// The kinds of records.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum RecordKind {
    /// Settings of a domain.
    Domain,
    /// A rule.
    Rule,
    /// A temporary override of a rule.
    Override,
}

/// Which kinds of records to list.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum KindChoice {
    /// Rules.
    Rule,
    /// Temporary overrides of rules.
    Override,
    /// Settings of domains.
    Domain,
    /// All of them.
    Any,
}

/// What every record has.
#[derive(ToSchema)]
pub struct Envelope {
    #[schema(inline)]
    kind: RecordKind,
    /// Its domain.
    domain: String,
    /// Its canonical descriptor path; settings of a domain have none.
    path: Option<String>,
    /// The same, entry by entry.
    descriptor: Option<Vec<EntryDocument>>,
    /// Why its content cannot be used, if so; then it has none of the form's fields.
    unreadable: Option<String>,
    /// That it is no more.
    deleted: Option<bool>,
    /// The revision that changed it last.
    revision: u64,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// By whom: a token's name.
    created_by: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    updated_at: String,
    /// By whom.
    updated_by: String,
}

/// What an answer to a change has besides.
#[derive(ToSchema)]
pub struct Outcome {
    /// Whether the change is in force on the replica that answers. Others follow within 100 ms, as a rule.
    in_force: bool,
    /// What is worth knowing of what was written.
    notes: Option<Vec<String>>,
}

/// Why something is changed.
#[derive(ToSchema)]
pub struct Reason {
    /// Why, for the history.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// Where a rule is.
#[derive(ToSchema)]
pub struct Place {
    /// The domain; `http.domain` if missing.
    #[schema(min_length = 1, max_length = 512)]
    domain: Option<String>,
    /// The canonical descriptor path, `user_id=123`. This or `descriptor`.
    path: Option<String>,
    /// The descriptor, entry by entry.
    descriptor: Option<Vec<EntryDocument>>,
}

/// For how long an override holds.
#[derive(ToSchema)]
pub struct Length {
    /// How long it holds, `2h`, instead of `until`.
    r#for: Option<String>,
}

/// A customer's limit in a line.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLimit {
    /// The domain; `http.domain` if missing.
    #[schema(min_length = 1, max_length = 512)]
    domain: Option<String>,
    /// The user; this or `ip_address`, or both.
    #[schema(min_length = 1)]
    user_id: Option<String>,
    /// The address.
    ip_address: Option<String>,
    /// Requests per second. One or more of these limits.
    #[schema(maximum = 4_294_967_295_u32)]
    limit_per_second: Option<u64>,
    /// Requests per minute.
    #[schema(maximum = 4_294_967_295_u32)]
    limit_per_minute: Option<u64>,
    /// Requests per hour.
    #[schema(maximum = 4_294_967_295_u32)]
    limit_per_hour: Option<u64>,
    /// Requests per day.
    #[schema(maximum = 4_294_967_295_u32)]
    limit_per_day: Option<u64>,
    /// Why, for the history.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// To which revision.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Its number; 0 is before the first.
    revision: u64,
    /// Why, for the history.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// Why.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonBody {
    /// Why, for the history.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// Where the repository stands.
#[derive(ToSchema)]
pub struct HeadDocument {
    /// Its epoch, 32 hexadecimal digits.
    epoch: String,
    /// Its newest revision.
    revision: u64,
    /// How many records the change changed.
    changed: u64,
    /// Whether the change is in force on the replica that answers.
    in_force: bool,
}

/// What a text changed, or would change.
#[derive(ToSchema)]
pub struct AppliedDocument {
    /// The epoch, when something was changed: 32 hexadecimal digits.
    epoch: Option<String>,
    /// The newest revision.
    revision: u64,
    /// How many records changed, or would.
    changed: u64,
    /// Whether the change is in force on the replica that answers.
    in_force: Option<bool>,
    /// Present when nothing was changed.
    dry_run: Option<bool>,
    /// The first 1000 changes.
    changes: Vec<ChangeDocument>,
    /// The same in words, a line each.
    diff: String,
    /// What the author may not have meant.
    warnings: Vec<String>,
}

/// A record that changes.
#[derive(ToSchema)]
pub struct ChangeDocument {
    /// `create`, `update` or `delete`.
    change: String,
    #[schema(inline)]
    kind: RecordKind,
    /// Its domain.
    domain: String,
    /// Its canonical descriptor path; settings of a domain have none.
    path: Option<String>,
    /// What it said.
    before: Option<Object>,
    /// What it is to say.
    after: Option<Object>,
    /// The fields that change: `field`, `before`, `after`.
    fields: Option<Vec<Object>>,
}

/// A record as a revision left it.
#[derive(ToSchema)]
pub struct VersionDocument {
    #[schema(inline)]
    kind: RecordKind,
    /// Its domain.
    domain: String,
    /// Its canonical descriptor path; settings of a domain have none.
    path: Option<String>,
    /// The same, entry by entry.
    descriptor: Option<Vec<EntryDocument>>,
    /// The revision.
    revision: u64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Who: a token's name.
    by: String,
    /// Why, as the author put it.
    reason: Option<String>,
    /// The form that was there before; `null` for none.
    before: Option<serde_json::Value>,
    /// The form that was there from then on; `null` when it was deleted.
    after: Option<serde_json::Value>,
}

/// A page of versions.
#[derive(ToSchema)]
pub struct VersionPage {
    /// From the newest to the oldest.
    versions: Vec<VersionDocument>,
    /// The cursor of the next page; `null` on the last.
    next: Option<String>,
}

/// A page of records.
#[derive(ToSchema)]
pub struct RecordPage {
    /// By domain, then kind, then path.
    records: Vec<AnyRecord>,
    /// The cursor of the next page; `null` on the last.
    next: Option<String>,
}

/// A schema of the properties of others; required is what the first requires.
fn together(description: &str, parts: Vec<RefOr<Schema>>, closed: bool) -> RefOr<Schema> {
    let mut whole = Object::new();
    for (position, part) in parts.into_iter().enumerate() {
        let RefOr::T(Schema::Object(part)) = part else { continue };
        whole.properties.extend(part.properties);
        if position == 0 {
            whole.required = part.required;
        }
    }
    whole.description = Some(description.to_owned());
    whole.additional_properties = closed.then(|| Box::new(AdditionalProperties::FreeForm(false)));
    RefOr::T(Schema::Object(whole))
}

macro_rules! together {
    ($name:ident, $description:literal, $closed:literal, $($part:ty),+) => {
        #[doc = $description]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                together($description, vec![$(<$part>::schema()),+], $closed)
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $(<$part>::schemas(schemas);)+
            }
        }
    };
}

together!(RuleRecord, "A rule as it is.", false, Envelope, RuleForm);
together!(DomainRecord, "The settings of a domain as they are.", false, Envelope, DomainForm);
together!(OverrideRecord, "An override as it is.", false, Envelope, OverrideForm);
together!(RuleWritten, "A rule after a change.", false, Envelope, RuleForm, Outcome);
together!(DomainWritten, "The settings of a domain after a change.", false, Envelope, DomainForm, Outcome);
together!(OverrideWritten, "An override after a change.", false, Envelope, OverrideForm, Outcome);
together!(Deleted, "What was deleted.", false, Envelope, Outcome);
together!(RuleBody, "A rule to be.", true, RuleForm, Reason);
together!(DomainBody, "Settings of a domain to be.", true, DomainForm, Reason);
together!(OverrideBody, "An override to be; `until` or `for` is needed.", true, Reason, OverrideForm, Length);
together!(SetWholeRule, "A whole rule and where it is.", true, Place, RuleForm, Reason);

/// One of several schemas.
fn any_of(names: [&str; 3]) -> RefOr<Schema> {
    let any = names
        .iter()
        .filter(|name| !name.is_empty())
        .fold(AnyOfBuilder::new(), |any, name| any.item(Ref::from_schema_name(*name)));
    RefOr::T(Schema::AnyOf(any.build()))
}

/// A record of any kind.
pub struct AnyRecord;

impl PartialSchema for AnyRecord {
    fn schema() -> RefOr<Schema> {
        any_of(["RuleRecord", "DomainRecord", "OverrideRecord"])
    }
}

impl ToSchema for AnyRecord {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("AnyRecord")
    }
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for (name, schema) in [
            (RuleRecord::name(), RuleRecord::schema()),
            (DomainRecord::name(), DomainRecord::schema()),
            (OverrideRecord::name(), OverrideRecord::schema()),
        ] {
            schemas.push((name.into_owned(), schema));
        }
        RuleRecord::schemas(schemas);
        DomainRecord::schemas(schemas);
        OverrideRecord::schemas(schemas);
    }
}

/// A limit in short, or a whole rule.
pub struct SetRule;

impl PartialSchema for SetRule {
    fn schema() -> RefOr<Schema> {
        any_of(["SetLimit", "SetWholeRule", ""])
    }
}

impl ToSchema for SetRule {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("SetRule")
    }
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("SetLimit".to_owned(), SetLimit::schema()));
        schemas.push(("SetWholeRule".to_owned(), SetWholeRule::schema()));
        SetWholeRule::schemas(schemas);
    }
}
