/* SPDX-License-Identifier: LGPL-3.0-only */

/* SQLite's C interface, and what Swift cannot see of it: casts in macros. */

#ifndef CSQLITE_H
#define CSQLITE_H

#include <sqlite3.h>

/* sqlite3_bind_text, with a copy of the text. */
int csqlite_bind_text(sqlite3_stmt *statement, int index, const char *text, int length);

#endif
