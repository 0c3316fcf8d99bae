/* SPDX-License-Identifier: LGPL-3.0-only */

#include "CJobtap.h"

extern char **environ;

void cjobtap_log(flux_t *h, int level, const char *text) { flux_log(h, level, "%s", text); }

char **cjobtap_environment(void) { return environ; }
