"""Attribution by unlearning: AbU, AbU+, MUCS, the fast teacher, and the influence of groups of works."""
