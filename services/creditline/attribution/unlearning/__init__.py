"""Attribution by unlearning: AbU, AbU+, MUCS and the fast teacher."""
