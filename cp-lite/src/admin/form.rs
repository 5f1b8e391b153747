//! Forms as Kong reads them: `config.second=5`, `paths[]=/x`, `paths[1]=/x`, a name given twice is a list.
//!
//! A form has texts only; what they mean is inferred from the schema of the entity: a number where it wants a number,
//! a list of one where it wants a list, `null` for nothing. What does not fit stays a text, and the schema's own check
//! says what is wrong with it.

use super::problem::Problem;
use model::kind::KindDef;
use model::schema::{Field, Type};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The most fields of a form.
pub(super) const FIELDS_MAX: usize = 1000;
/// How deep names may nest.
const DEPTH_MAX: usize = 16;

/// A form, its names taken apart.
#[derive(Debug, Default)]
pub(super) struct Form {
    root: Tree,
}

/// What was given for a name: values, elements by index (counted from 1), fields. A sound form has one of the three;
/// of a contradicting one fields win over elements and values.
#[derive(Debug, Default)]
struct Tree {
    texts: Vec<String>,
    elements: BTreeMap<usize, Tree>,
    fields: BTreeMap<String, Tree>,
}

/// One step of a name: `.field`, `[index]` or `[]`.
enum Step<'a> {
    Field(&'a str),
    Index(Option<usize>),
}

impl Form {
    /// Takes names apart.
    pub(super) fn read<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Result<Self, Problem> {
        let mut root = Tree::default();
        for (count, (name, value)) in pairs.enumerate() {
            if count >= FIELDS_MAX {
                return Err(Problem::BadBody(format!("a form may have at most {FIELDS_MAX} fields")));
            }
            let tree = steps(&name)?.iter().fold(&mut root, |tree, step| tree.child(step));
            tree.texts.push(value.into_owned());
        }
        Ok(Self { root })
    }

    /// The form as an entity of this kind.
    pub(super) fn entity(&self, def: &KindDef, existing: Option<&Map<String, Value>>) -> Map<String, Value> {
        let inferred = |(name, tree): (&String, &Tree)| {
            let value = match def.schema.field(name) {
                Some(Field { ty: Type::Object, .. }) => tree.infer_fields(self.plugin_fields(existing)),
                field => tree.infer(field),
            };
            (name.clone(), value)
        };
        self.root.fields.iter().map(inferred).collect()
    }

    /// The configuration fields of the plugin that the entity is, if it is one.
    fn plugin_fields(&self, existing: Option<&Map<String, Value>>) -> &'static [Field] {
        let given = self.root.fields.get("name").and_then(|tree| tree.texts.first()).map(String::as_str);
        let name = given.or_else(|| existing?.get("name")?.as_str());
        name.and_then(model::plugins::find).map_or(&[], |plugin| plugin.schema.fields)
    }
}

impl Tree {
    fn child(&mut self, step: &Step<'_>) -> &mut Self {
        match step {
            Step::Field(name) => self.fields.entry((*name).to_owned()).or_default(),
            Step::Index(index) => {
                let after_last = self.elements.keys().next_back().map_or(1, |last| last.saturating_add(1));
                self.elements.entry(index.unwrap_or(after_last)).or_default()
            }
        }
    }

    /// The value that a field of this type would have.
    fn infer(&self, field: Option<&Field>) -> Value {
        match field.map(|field| field.ty) {
            Some(Type::Array(_) | Type::Set(_)) if self.is_empty_text() => Value::Null,
            Some(Type::Array(element) | Type::Set(element)) if self.fields.is_empty() => self.list(Some(element)),
            Some(Type::Array(element) | Type::Set(element)) => Value::Array(vec![self.infer(Some(element))]),
            Some(Type::Record(known)) => self.infer_fields(known),
            Some(Type::Map(_, values)) => self.shape(|_| Some(values), field),
            _ => self.shape(|_| None, field),
        }
    }

    fn infer_fields(&self, known: &[Field]) -> Value {
        self.shape(|name| known.iter().find(|field| field.name == name), None)
    }

    /// The tree as it was written: fields (of the types that `of` says), a list, or one value of the type `own`.
    fn shape<'f>(&self, of: impl Fn(&str) -> Option<&'f Field>, own: Option<&Field>) -> Value {
        if !self.fields.is_empty() {
            return self.fields.iter().map(|(name, tree)| (name.clone(), tree.infer(of(name)))).collect();
        }
        match self.texts.as_slice() {
            [text] if self.elements.is_empty() => scalar(text, own),
            _ => self.list(None),
        }
    }

    fn list(&self, element: Option<&Field>) -> Value {
        let texts = self.texts.iter().map(|text| scalar(text, element));
        texts.chain(self.elements.values().map(|tree| tree.infer(element))).collect()
    }

    fn is_empty_text(&self) -> bool {
        self.fields.is_empty() && self.elements.is_empty() && matches!(self.texts.as_slice(), [text] if text.is_empty())
    }
}

/// A single text as a value of this type.
fn scalar(text: &str, field: Option<&Field>) -> Value {
    match field.map(|field| field.ty) {
        Some(_) if text.is_empty() => Value::Null,
        Some(Type::Integer | Type::Expiry | Type::Number) => number(text),
        Some(Type::Boolean) if text == "true" || text == "false" => Value::Bool(text == "true"),
        _ => Value::String(text.to_owned()),
    }
}

/// A number, or the text as it is.
fn number(text: &str) -> Value {
    let integer = text.parse::<i64>().ok().map(Value::from);
    let fraction = || text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from);
    integer.or_else(fraction).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The steps of a name: `a.b[2][]` is field `a`, field `b`, element 2, the next element.
fn steps(name: &str) -> Result<Vec<Step<'_>>, Problem> {
    let mut steps = Vec::new();
    // A name that starts or ends with a dot is taken as it is (Kong).
    let whole = name.starts_with('.') || name.ends_with('.');
    let parts: Vec<&str> = if whole { vec![name] } else { name.split('.').filter(|part| !part.is_empty()).collect() };
    for part in parts {
        let (field, indexes) = indexes(part);
        steps.push(Step::Field(field));
        steps.extend(indexes.into_iter().rev().map(Step::Index));
        if steps.len() > DEPTH_MAX {
            return Err(Problem::BadBody(format!("names of form fields may nest at most {DEPTH_MAX} deep")));
        }
    }
    Ok(steps)
}

/// Takes the `[n]` and `[]` off the end of a part, the last first.
fn indexes(part: &str) -> (&str, Vec<Option<usize>>) {
    let mut rest = part;
    let mut indexes = Vec::new();
    while let Some((before, index)) = rest.strip_suffix(']').and_then(|text| text.rsplit_once('[')) {
        let digits = index.bytes().all(|byte| byte.is_ascii_digit());
        if before.is_empty() || !digits || indexes.len() > DEPTH_MAX {
            break;
        }
        indexes.push(index.parse().ok());
        rest = before;
    }
    (rest, indexes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Kind;
    use serde_json::json;

    fn entity(kind: Kind, form: &str) -> Value {
        let form = Form::read(form_urlencoded::parse(form.as_bytes())).unwrap();
        Value::Object(form.entity(kind.def(), None))
    }

    #[test]
    fn values_become_what_the_schema_wants() {
        let service = entity(Kind::Service, "host=a.example&port=8080&enabled=false&path=&retries=many");
        assert_eq!(
            service,
            json!({"host": "a.example", "port": 8080, "enabled": false, "path": null, "retries": "many"})
        );
    }

    #[test]
    fn lists_are_written_with_brackets_or_by_repetition_or_as_one() {
        for form in ["paths[]=/a&paths[]=/b", "paths[2]=/b&paths[1]=/a", "paths=/a&paths=/b"] {
            assert_eq!(entity(Kind::Route, form), json!({"paths": ["/a", "/b"]}), "{form}");
        }
        assert_eq!(entity(Kind::Route, "paths=/a,b"), json!({"paths": ["/a,b"]}));
    }

    #[test]
    fn dots_reach_into_records_maps_and_foreign_keys() {
        let route = entity(Kind::Route, "service.id=7&headers.x-version[]=1&headers.x-version[]=2");
        assert_eq!(route, json!({"service": {"id": "7"}, "headers": {"x-version": ["1", "2"]}}));
        let sources = entity(Kind::Route, "sources[1].ip=10.0.0.1&sources[1].port=80&sources[2].ip=10.0.0.2");
        assert_eq!(sources, json!({"sources": [{"ip": "10.0.0.1", "port": 80}, {"ip": "10.0.0.2"}]}));
    }

    #[test]
    fn a_plugins_configuration_is_inferred_from_its_own_schema() {
        let plugin = entity(Kind::Plugin, "name=key-auth&config.key_names=a&config.hide_credentials=true");
        assert_eq!(plugin, json!({"name": "key-auth", "config": {"key_names": ["a"], "hide_credentials": true}}));
        let form = Form::read(form_urlencoded::parse(b"config.key_in_body=true")).unwrap();
        let existing = json!({"name": "key-auth"});
        let patch = form.entity(Kind::Plugin.def(), existing.as_object());
        assert_eq!(Value::Object(patch), json!({"config": {"key_in_body": true}}));
    }

    #[test]
    fn contradicting_and_odd_names_are_taken_without_harm() {
        for form in
            ["a=1&a.b=2", "a.b=2&a=1", "a[]=1&a.b=2", "[1]=x", "]=", ".a=1", "a..b=1", "=", "a[99999999999999999999]=1"]
        {
            assert!(entity(Kind::Route, form).is_object(), "{form}");
        }
        let deep = format!("a{}=1", ".b".repeat(DEPTH_MAX + 1));
        assert!(Form::read(form_urlencoded::parse(deep.as_bytes())).is_err());
        let many = "a=1&".repeat(FIELDS_MAX + 1);
        assert!(Form::read(form_urlencoded::parse(many.as_bytes())).is_err());
    }
}
