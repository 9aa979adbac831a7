/** A file name that sorts by time: "door_2026-03-01_17-05-09.jpg", in local time. */
export function pictureName(camera: string, at: Date): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const time = `${two(at.getHours())}-${two(at.getMinutes())}-${two(at.getSeconds())}`;
  return `${camera.replace(/[^A-Za-z0-9_-]/g, '_')}_${day}_${time}.jpg`;
}

/** Lets the browser save the data as a file. */
export function saveFile(data: Blob, name: string): void {
  const url = URL.createObjectURL(data);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The download holds the data by itself once the click has been handled.
  setTimeout(() => URL.revokeObjectURL(url), 0);
}
