//! What the library lets through, and the service refuses: variables of another type than the place where they stand,
//! enums in quotes, and plain values where an object should be.
//!
//! The library has the first rule and never runs it, because its list of rules doesn't pass input values on. A query that
//! declares `$id: String!` for a `UUID!` would be answered here:
//! <https://spec.graphql.org/October2021/#sec-All-Variable-Usages-are-Allowed>.

use std::collections::BTreeSet;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet, Type,
};
use async_graphql::registry::{MetaInputValue, MetaType, MetaTypeName, Registry};
use async_graphql::{Name, Positioned, Variables};
use async_graphql_value::Value;

/// Finds the first value that doesn't fit its place, and says so.
pub(super) fn check(
    registry: &Registry,
    document: &ExecutableDocument,
    variables: &Variables,
) -> Result<(), String> {
    for (_, operation) in document.operations.iter() {
        let mut walk = Walk {
            registry,
            document,
            operation: &operation.node,
            seen: BTreeSet::new(),
        };
        let root = match operation.node.ty {
            OperationType::Query => Some(&registry.query_type),
            OperationType::Mutation => registry.mutation_type.as_ref(),
            OperationType::Subscription => None,
        };
        if let Some(root) = root {
            walk.selections(root, &operation.node.selection_set.node)?;
        }
        for declared in &operation.node.variable_definitions {
            let name = &declared.node.name.node;
            if let Some(value) = variables.get(name) {
                let expected = declared.node.var_type.node.to_string();
                walk.object(&expected, value)?;
            }
        }
    }
    Ok(())
}

struct Walk<'a> {
    registry: &'a Registry,
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    /// Fragments that were walked through; they may lead in circles, which another rule refuses.
    seen: BTreeSet<&'a Name>,
}

impl<'a> Walk<'a> {
    fn selections(&mut self, parent: &str, set: &'a SelectionSet) -> Result<(), String> {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => {
                    let known = self.registry.types.get(parent).and_then(MetaType::fields);
                    // Another rule refuses a field that isn't there.
                    let Some(known) =
                        known.and_then(|fields| fields.get(field.node.name.node.as_str()))
                    else {
                        continue;
                    };
                    for (name, value) in &field.node.arguments {
                        if let Some(argument) = known.args.get(name.node.as_str()) {
                            self.value(
                                &argument.ty,
                                argument.default_value.is_some(),
                                &value.node,
                            )?;
                        }
                    }
                    let child = MetaTypeName::concrete_typename(&known.ty);
                    self.selections(child, &field.node.selection_set.node)?;
                }
                Selection::InlineFragment(fragment) => {
                    self.selections(parent, &fragment.node.selection_set.node)?;
                }
                Selection::FragmentSpread(spread) => {
                    let found = self
                        .document
                        .fragments
                        .get_key_value(&spread.node.fragment_name.node);
                    if let Some((name, fragment)) = found
                        && self.seen.insert(name)
                    {
                        self.selections(parent, &fragment.node.selection_set.node)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn value(&self, expected: &str, has_default: bool, value: &Value) -> Result<(), String> {
        match value {
            Value::Variable(name) => self.variable(expected, has_default, name),
            Value::List(items) => {
                let MetaTypeName::List(item) = MetaTypeName::create(expected).unwrap_non_null()
                else {
                    return Ok(());
                };
                items
                    .iter()
                    .try_for_each(|value| self.value(item, false, value))
            }
            Value::Object(fields) => {
                let Some(known) = self.input(expected) else {
                    return Ok(());
                };
                for (name, value) in fields {
                    if let Some(field) = known.get(name.as_str()) {
                        self.value(&field.ty, field.default_value.is_some(), value)?;
                    }
                }
                Ok(())
            }
            Value::String(text) => {
                let name = MetaTypeName::concrete_typename(expected);
                if let Some(MetaType::Enum { .. }) = self.registry.types.get(name) {
                    return Err(format!(
                        "Enum \"{name}\" cannot represent the text \"{text}\"."
                    ));
                }
                self.no_object(expected)
            }
            Value::Null => Ok(()),
            _ => self.no_object(expected),
        }
    }

    /// The fields of an input, if that is what a type is.
    fn input(&self, expected: &str) -> Option<&'a IndexMap<String, MetaInputValue>> {
        let name = MetaTypeName::concrete_typename(expected);
        match self.registry.types.get(name) {
            Some(MetaType::InputObject { input_fields, .. }) => Some(input_fields),
            _ => None,
        }
    }

    fn no_object(&self, expected: &str) -> Result<(), String> {
        if self.input(expected).is_none() {
            return Ok(());
        }
        Err(format!("Expected type \"{expected}\" to be an object."))
    }

    /// Objects, in the value of a variable, where the type wants them.
    fn object(&self, expected: &str, value: &async_graphql::Value) -> Result<(), String> {
        match value {
            async_graphql::Value::Null => Ok(()),
            async_graphql::Value::List(items) => items
                .iter()
                .try_for_each(|item| self.object(MetaTypeName::concrete_typename(expected), item)),
            async_graphql::Value::Object(fields) => {
                let Some(known) = self.input(expected) else {
                    return Ok(());
                };
                for (name, value) in fields {
                    if let Some(field) = known.get(name.as_str()) {
                        self.object(&field.ty, value)?;
                    }
                }
                Ok(())
            }
            _ => self.no_object(expected),
        }
    }

    fn variable(&self, expected: &str, has_default: bool, name: &Name) -> Result<(), String> {
        let mut declared = self.operation.variable_definitions.iter();
        let Some(declared) = declared.find(|declared| declared.node.name.node == *name) else {
            return Ok(());
        };
        let default = declared.node.default_value.as_ref();
        let never_null = has_default || default.is_some_and(is_something);
        let kind = &declared.node.var_type.node;
        let Some(mut wanted) = Type::new(expected) else {
            return Ok(());
        };
        // A default lets a variable that may be null stand where nothing may be.
        wanted.nullable |= never_null;
        if fits(&wanted, kind) {
            return Ok(());
        }
        Err(format!(
            "Variable \"${name}\" of type \"{kind}\" used in position expecting type \"{expected}\"."
        ))
    }
}

fn is_something(default: &Positioned<async_graphql::Value>) -> bool {
    default.node != async_graphql::Value::Null
}

fn fits(wanted: &Type, given: &Type) -> bool {
    if !wanted.nullable && given.nullable {
        return false;
    }
    match (&wanted.base, &given.base) {
        (BaseType::Named(wanted), BaseType::Named(given)) => wanted == given,
        (BaseType::List(wanted), BaseType::List(given)) => fits(wanted, given),
        _ => false,
    }
}
