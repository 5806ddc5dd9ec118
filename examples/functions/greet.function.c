// SPDX-License-Identifier: MIT
#include <ukl-function.h>

static void greet(struct ukl_request *request)
{
	const char *greeting = getenv("GREETING");
	char text[256];
	int n = snprintf(text, sizeof(text), "%.64s from %.128s\n", greeting ? greeting : "Hello", request->target);

	ukl_respond(request, 200, "text/plain", text, n);
}

UKL_FUNCTION(greet)
