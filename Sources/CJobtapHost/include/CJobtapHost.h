/* SPDX-License-Identifier: LGPL-3.0-only */

/* The variadic functions of the plugin interface, which Swift cannot define. */

#ifndef CJOBTAPHOST_H
#define CJOBTAPHOST_H

/* Written in Swift: takes a finished line. */
void cjobtaphost_log(void *handle, int level, const char *text);

/* Written in Swift: an object that stands for the member of a callback's arguments at a path of four keys; NULL when there is none. */
void *cjobtaphost_member(void *args, const char *first, const char *second, const char *third, const char *fourth);

/* Written in Swift: the whole number of a callback's arguments under a key; -1 when there is none. */
int cjobtaphost_int(void *args, const char *key, long long *value);

/* Written in Swift: a JSON object that is put together member by member; post sends it as an event's context and frees it. */
void *cjobtaphost_context(void);
void cjobtaphost_add_int(void *context, const char *key, long long value);
void cjobtaphost_add_bool(void *context, const char *key, int value);
void cjobtaphost_add_double(void *context, const char *key, double value);
void cjobtaphost_add_text(void *context, const char *key, const char *value);
int cjobtaphost_post(void *plugin, unsigned long long id, const char *name, void *context);

#endif
