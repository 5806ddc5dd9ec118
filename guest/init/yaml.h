/* SPDX-License-Identifier: GPL-2.0-only */
/* The part of YAML that configurations of networks are written in; yaml.c has its limits. */
#ifndef YAML_H
#define YAML_H

#include <stdbool.h>
#include <stddef.h>

#define YAML_DEPTH	12

/* A scalar, and the keys and numbers that lead to it. */
struct yaml_scalar {
	const char *path[YAML_DEPTH];
	int depth;
	const char *value;
	int line;
};

/*
 * Hands over each scalar, in order; an empty mapping or sequence has none.  Keys and values are in
 * the text, and good as long as that is.  False, with what is wrong in `problem`, if the text is not of this part, or if `take`
 * says so, which then has said why.
 */
bool parse_yaml(char *text, bool (*take)(void *context, const struct yaml_scalar *scalar), void *context,
		char *problem, size_t size);

#endif
