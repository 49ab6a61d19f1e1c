"""Pictures with boxes or masks: what each layout of files says, and what is wrong with it."""
