/* SPDX-License-Identifier: LGPL-3.0-only */

/* The variadic functions of the plugin interface, which Swift cannot define. */

#ifndef CJOBTAPHOST_H
#define CJOBTAPHOST_H

/* Written in Swift: takes a finished line. */
void cjobtaphost_log(void *handle, int level, const char *text);

#endif
