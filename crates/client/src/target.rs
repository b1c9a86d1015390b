//! Converts [`Target`], the choice between this machine and a rented one, to and from the library's own type. Nothing
//! outside this module does.

use jobs::manifest::Target;

/// The value for the library's `target` column.
pub(crate) fn to_store(target: Target) -> store::StoredTarget {
    match target {
        Target::Local => store::StoredTarget::Local,
        Target::Cloud => store::StoredTarget::Cloud,
    }
}

/// The target that the library stored.
pub(crate) fn from_store(target: store::StoredTarget) -> Target {
    match target {
        store::StoredTarget::Local => Target::Local,
        store::StoredTarget::Cloud => Target::Cloud,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_the_library() {
        for target in [Target::Local, Target::Cloud] {
            assert_eq!(to_store(target).as_str(), target.as_str());
            assert_eq!(from_store(to_store(target)), target);
        }
    }
}
