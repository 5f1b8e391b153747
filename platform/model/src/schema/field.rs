//! The vocabulary of schema tables: fields, their types and rules, and checks between fields. All of it is const data.

use super::{CheckCx, Schema, Violations};
use crate::body::Object;

/// One field of an entity or record, or (without a name) the elements of an array, set or map.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// What it holds.
    pub ty: Type,
    /// Whether it must be set once defaults are in.
    pub required: bool,
    /// Whether a value is made when none is given: ids, times, keys.
    pub auto: bool,
    /// Whether no two entities of the kind may have the same value.
    pub unique: bool,
    /// What it is when not given; [`Literal::Null`] for none. A record with `{}` is filled from its own fields.
    pub default: Literal,
    /// What the value must satisfy, in order; the first that fails is reported.
    pub rules: &'static [Rule],
    /// For foreign keys: whether the entity goes together with what it points to.
    pub cascade: bool,
    /// Whether it is a secret (Kong: `encrypted`).
    pub secret: bool,
    /// Whether Kong takes a vault reference here.
    pub referenceable: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// Text.
    String,
    /// An integer.
    Integer,
    /// An integer or a fraction.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array(&'static Field),
    /// A list without duplicates.
    Set(&'static Field),
    /// Free keys, each with a value.
    Map(&'static Field, &'static Field),
    /// Fixed fields.
    Record(&'static [Field]),
    /// A reference to an entity of the collection with this name.
    Foreign(&'static str),
    /// When the entity ends: a number of seconds from now for clients, a point in time in the canonical form.
    Expiry,
    /// An object that another schema checks: a plugin's configuration.
    Object,
}

/// A value in a table.
#[derive(Debug, Clone, Copy)]
pub enum Literal {
    /// None.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A fraction.
    Real(f64),
    /// Text.
    Text(&'static str),
    /// A list of texts.
    Texts(&'static [&'static str]),
    /// A list of integers.
    Ints(&'static [u16]),
    /// An empty record, filled from the defaults of its fields.
    Record,
}

/// What a value must satisfy.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// `null` only, with the text to say otherwise.
    Null(&'static str),
    /// Not `true`, with the text to say otherwise.
    NotTrue(&'static str),
    /// For records: at least one of these is set.
    AtLeastOneOf(&'static [&'static str]),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these integers.
    OneOfInts(&'static [i64]),
    /// Within these bounds.
    Between(i64, i64),
    /// Greater than this.
    Gt(i64),
    /// A point in time: greater than 0.
    Timestamp,
    /// A UUID.
    Uuid,
    /// At least this long.
    LenMin(usize),
    /// A text that starts like this.
    StartsWith(&'static str),
    /// A path without `//`.
    NoEmptySegments,
    /// Capital ASCII letters only.
    Capitals,
    /// Anything else that a text must satisfy; Kong's `custom_validator`.
    Text(fn(&str) -> Result<(), String>),
}

/// What must hold between the fields of an entity. Names may be dotted.
#[derive(Debug, Clone, Copy)]
pub enum EntityCheck {
    /// At least one of these is set and not empty.
    AtLeastOneOf(&'static [&'static str]),
    /// No more than one of these is set.
    MutuallyExclusive(&'static [&'static str]),
    /// All of these are set, or none.
    MutuallyRequired(&'static [&'static str]),
    /// Those that are set differ.
    Distinct(&'static [&'static str]),
    /// If one field is so, another must be so.
    Conditional {
        /// The field that decides.
        if_field: &'static str,
        /// How it must be for the rest to matter.
        when: When,
        /// The field concerned.
        then_field: &'static str,
        /// How that must be.
        then: Then,
        /// The text to say otherwise, in place of the rule's own.
        message: Option<&'static str>,
    },
    /// Code, run once these fields have no mistakes of their own.
    Custom {
        /// What it looks at.
        fields: &'static [&'static str],
        /// The code.
        check: fn(&CheckCx<'_>, &Object, &mut Violations),
    },
}

/// What depends on one entity's own content (Kong's subschemas): a plugin's configuration by its name, what a route
/// may have by its protocols.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subschema {
    /// The schema of the entity's [`Type::Object`] field.
    pub config: Option<&'static Schema>,
    /// Fields that stand in for those of the same name.
    pub fields: &'static [Field],
}

/// How a field must be for a conditional check to apply.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// This word.
    Is(&'static str),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// None of these words.
    NotOneOf(&'static [&'static str]),
    /// A list with none of these words.
    NoElementOf(&'static [&'static str]),
    /// Greater than this.
    Gt(i64),
}

/// How a field must be when a conditional check applies.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// Unset.
    Null,
    /// Set.
    Required,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Unset or empty.
    Empty,
    /// A list with this word.
    Contains(&'static str),
}

impl Field {
    /// A field of any type, optional and without rules.
    #[must_use]
    pub const fn new(name: &'static str, ty: Type) -> Self {
        Self {
            name,
            ty,
            required: false,
            auto: false,
            unique: false,
            default: Literal::Null,
            rules: &[],
            cascade: false,
            secret: false,
            referenceable: false,
        }
    }

    /// A text.
    #[must_use]
    pub const fn string(name: &'static str) -> Self {
        Self::new(name, Type::String)
    }

    /// A text from a list of words.
    #[must_use]
    pub const fn word(name: &'static str, rules: &'static [Rule]) -> Self {
        Self::new(name, Type::String).rules(rules)
    }

    /// An integer within bounds.
    #[must_use]
    pub const fn integer(name: &'static str, rules: &'static [Rule]) -> Self {
        Self::new(name, Type::Integer).rules(rules)
    }

    /// A number within bounds.
    #[must_use]
    pub const fn number(name: &'static str, rules: &'static [Rule]) -> Self {
        Self::new(name, Type::Number).rules(rules)
    }

    /// A boolean.
    #[must_use]
    pub const fn boolean(name: &'static str) -> Self {
        Self::new(name, Type::Boolean)
    }

    /// A list.
    #[must_use]
    pub const fn array(name: &'static str, element: &'static Self) -> Self {
        Self::new(name, Type::Array(element))
    }

    /// A list without duplicates.
    #[must_use]
    pub const fn set(name: &'static str, element: &'static Self) -> Self {
        Self::new(name, Type::Set(element))
    }

    /// A record that is always there, filled from the defaults of its fields.
    #[must_use]
    pub const fn record(name: &'static str, fields: &'static [Self]) -> Self {
        Self::new(name, Type::Record(fields)).default(Literal::Record)
    }

    /// A reference to an entity of this collection.
    #[must_use]
    pub const fn foreign(name: &'static str, collection: &'static str) -> Self {
        Self::new(name, Type::Foreign(collection))
    }

    /// The fields of a record; none for all else.
    #[must_use]
    pub const fn inner(&self) -> Option<&'static [Self]> {
        match self.ty {
            Type::Record(fields) => Some(fields),
            _ => None,
        }
    }

    /// With these rules.
    #[must_use]
    pub const fn rules(mut self, rules: &'static [Rule]) -> Self {
        self.rules = rules;
        self
    }

    /// With this default.
    #[must_use]
    pub const fn default(mut self, default: Literal) -> Self {
        self.default = default;
        self
    }

    /// Must be set.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Made when not given.
    #[must_use]
    pub const fn auto(mut self) -> Self {
        self.auto = true;
        self
    }

    /// Unique within the kind.
    #[must_use]
    pub const fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// The entity goes with what this points to.
    #[must_use]
    pub const fn cascade(mut self) -> Self {
        self.cascade = true;
        self
    }

    /// A secret.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Kong takes vault references here.
    #[must_use]
    pub const fn referenceable(mut self) -> Self {
        self.referenceable = true;
        self
    }
}
