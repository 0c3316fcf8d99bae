/* SPDX-License-Identifier: LGPL-3.0-only */

/* The variadic functions of the plugin interface, which Swift cannot define. */

#ifndef CJOBTAPHOST_H
#define CJOBTAPHOST_H

/* Written in Swift: takes a finished line. */
void cjobtaphost_log(void *handle, int level, const char *text);

/* Written in Swift: an object that stands for the member of a callback's arguments at a path of four keys; NULL when there is none. */
void *cjobtaphost_member(void *args, const char *first, const char *second, const char *third, const char *fourth);

#endif
