/* What the benchmark does so often that an interpreter's own time would count: reads, stats, opens and creates in a loop.
 * Prints the seconds that the loop took. */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int opened(const char *path)
{
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static off_t size_of(int fd)
{
	struct stat st;
	if (fstat(fd, &st))
		err(1, "fstat");
	return st.st_size;
}

/* From the start to the end, in pieces of `block` bytes. */
static double sequential(const char *path, size_t block)
{
	char *buffer = malloc(block);
	double begun = now();
	int fd = opened(path);
	off_t size = size_of(fd), got = 0;
	ssize_t n;
	while ((n = read(fd, buffer, block)) > 0)
		got += n;
	if (n < 0 || got != size)
		err(1, "%s ended after %jd bytes", path, (intmax_t)got);
	close(fd);
	return now() - begun;
}

/* Every eight bytes of a mapping. */
static double mapped(const char *path)
{
	double begun = now();
	int fd = opened(path);
	off_t size = size_of(fd);
	const uint64_t *words = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	volatile uint64_t sum = 0;
	uint64_t all = 0;
	if (words == MAP_FAILED)
		err(1, "mmap of %s", path);
	for (off_t at = 0; at < size / 8; at++)
		all += words[at];
	sum = all;
	(void)sum;
	munmap((void *)words, size);
	close(fd);
	return now() - begun;
}

/* `count` pages anywhere. */
static double random_pages(const char *path, long count)
{
	static char page[4096];
	int fd = opened(path);
	uint64_t pages = size_of(fd) / sizeof page, state = 88172645463325252u;
	double begun = now();
	for (long i = 0; i < count; i++) {
		state ^= state << 13, state ^= state >> 7, state ^= state << 17;
		if (pread(fd, page, sizeof page, state % pages * sizeof page) != sizeof page)
			err(1, "pread of %s", path);
	}
	double took = now() - begun;
	close(fd);
	return took;
}

static char **names;
static long count_of_names;

/* The names of a directory that begin with `prefix`. */
static void list(const char *path, const char *prefix)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	if (!dir || chdir(path))
		err(1, "%s", path);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strncmp(entry->d_name, prefix, strlen(prefix)))
			continue;
		names = realloc(names, (count_of_names + 1) * sizeof *names);
		names[count_of_names++] = strdup(entry->d_name);
	}
	closedir(dir);
	if (!count_of_names)
		errx(1, "%s has no %s*", path, prefix);
}

static double stats(void)
{
	struct stat st;
	double begun = now();
	for (long i = 0; i < count_of_names; i++)
		if (stat(names[i], &st))
			err(1, "stat of %s", names[i]);
	return now() - begun;
}

static double whole_files(void)
{
	static char buffer[65536];
	double begun = now();
	for (long i = 0; i < count_of_names; i++) {
		int fd = opened(names[i]);
		while (read(fd, buffer, sizeof buffer) > 0)
			;
		close(fd);
	}
	return now() - begun;
}

/* Creates and fills `count` files of 1 KB; what is left open at the end is removed and closed outside of the time. */
static double creates(const char *path, long count, int syncs, int closes)
{
	static char content[1024];
	struct rlimit limit;
	char name[64];
	int *files = calloc(count, sizeof *files);
	if (chdir(path))
		err(1, "%s", path);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	double begun = now();
	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof name, "created-%06ld.md", i);
		memcpy(content, name, sizeof name);
		files[i] = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		if (files[i] < 0 || write(files[i], content, sizeof content) != sizeof content)
			err(1, "%s", name);
		if (syncs && fsync(files[i]))
			err(1, "fsync of %s", name);
		if (closes && close(files[i]))
			err(1, "close of %s", name);
	}
	double took = now() - begun;
	for (long i = 0; i < count && !closes; i++) {
		snprintf(name, sizeof name, "created-%06ld.md", i);
		unlink(name);
	}
	return took;
}

int main(int argc, char **argv)
{
	double took;
	if (argc < 4)
		errx(2, "usage: io seq|mmap|random|stat|files|create|close|synced PATH NUMBER|PREFIX");
	const char *what = argv[1], *path = argv[2], *rest = argv[3];
	if (!strcmp(what, "seq")) {
		took = sequential(path, atol(rest));
	} else if (!strcmp(what, "mmap")) {
		took = mapped(path);
	} else if (!strcmp(what, "random")) {
		took = random_pages(path, atol(rest));
	} else if (!strcmp(what, "stat") || !strcmp(what, "files")) {
		list(path, rest);
		took = what[0] == 's' ? stats() : whole_files();
	} else if (!strcmp(what, "create") || !strcmp(what, "close") || !strcmp(what, "synced")) {
		took = creates(path, atol(rest), what[0] == 's', what[0] != 'c' || what[1] == 'l');
	} else {
		errx(2, "%s?", what);
	}
	printf("%.9f\n", took);
	return 0;
}
