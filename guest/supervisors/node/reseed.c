// SPDX-License-Identifier: MIT
/*
 * An addon of Node.js' that has its OpenSSL draw a new seed: after a snapshot,
 * what it would say next is the same in each clone.  The generators of all
 * threads take theirs from the one that this reseeds (RAND_poll() in
 * crypto/rand/rand_lib.c; parent_reseed_counter in drbg.c).
 */
#include <node_api.h>

/* Of the OpenSSL in the node binary, which exports it. */
extern int RAND_poll(void);

static napi_value reseed(napi_env env, napi_callback_info info)
{
	(void)info;
	if (RAND_poll() != 1)
		napi_throw_error(env, NULL, "OpenSSL has no new seed");
	return NULL;
}

NAPI_MODULE_INIT()
{
	napi_value function;

	(void)exports;		/* the function is all there is */
	if (napi_create_function(env, "reseed", NAPI_AUTO_LENGTH, reseed, NULL, &function) != napi_ok)
		return NULL;
	return function;
}
